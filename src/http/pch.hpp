// SPDX-License-Identifier: Apache-2.0
// Beast and Asio, parsed once for the module's three sources.
#pragma once

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
