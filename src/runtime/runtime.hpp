// SPDX-License-Identifier: Apache-2.0
// The machine's small mechanisms: file descriptors, files that are replaced whole, signals, a bell
// to wait on. Promise: every descriptor is closed, a reader of a replaced file sees the old or the
// new content and nothing between.
#pragma once

#include "runtime/bell.hpp"
#include "runtime/fd.hpp"
#include "runtime/files.hpp"
#include "runtime/notify.hpp"
#include "runtime/signals.hpp"
