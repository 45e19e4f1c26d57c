// SPDX-License-Identifier: Apache-2.0
// http: an HTTPS server and client that cannot be held up. Promise: whatever a peer sends, or does
// not send, costs a bounded amount of memory and time and never delays another peer's request; a
// response is written once, whole, and in the order of the requests; nothing outside this module
// sees Beast, Asio or OpenSSL.
#pragma once

#include "http/client.hpp"   // IWYU pragma: export
#include "http/message.hpp"  // IWYU pragma: export
#include "http/server.hpp"   // IWYU pragma: export
