// SPDX-License-Identifier: Apache-2.0
// Runs a program of the data plane by itself, which no packet does. Used by transfer.cpp and
// totals.cpp only.
#pragma once

#include "base/result.hpp"
#include "datapath/loader.hpp"

#include <bpf/bpf.h>

#include <array>
#include <cstdint>
#include <string>

namespace culvert::datapath {

inline Status run_program(const Datapath& datapath, const char* name) {
    constexpr std::size_t kShortestFrame = 64;
    std::array<std::uint8_t, kShortestFrame> frame{};
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = frame.data();
    options.data_size_in = frame.size();
    if (const int error = bpf_prog_test_run_opts(datapath.program(name), &options); error != 0) {
        return std::unexpected(error_from_errno(-error, name));
    }
    if (options.retval != 0) {
        return fail(Code::kInternal, std::string(name) + ": refused");
    }
    return {};
}

}  // namespace culvert::datapath
