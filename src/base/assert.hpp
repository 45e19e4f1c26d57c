// SPDX-License-Identifier: Apache-2.0
// CULVERT_ASSERT stays on in release builds and guards programmer errors only: peers, disks,
// kernels and users are handled with Result (STYLE.md 8).
#pragma once

namespace culvert {
[[noreturn]] void assert_failed(const char* expression, const char* file, int line) noexcept;
}

#define CULVERT_ASSERT(condition) \
    ((condition) ? void(0) : ::culvert::assert_failed(#condition, __FILE__, __LINE__))
