// SPDX-License-Identifier: Apache-2.0
#include "datapath/outer.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

namespace culvert::datapath {

Result<OuterAddress> OuterAddress::parse(std::string_view text) {
    OuterAddress out;
    const std::string owned(text);
    if (inet_pton(AF_INET, owned.c_str(), out.bytes.data()) == 1) {
        out.family = 4;
        return out;
    }
    if (inet_pton(AF_INET6, owned.c_str(), out.bytes.data()) == 1) {
        out.family = 6;
        return out;
    }
    return fail(Code::kInvalidArgument, fmt::format("'{}' is not an IP address", text));
}

std::string OuterAddress::str() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (family == 0 || inet_ntop(family == 6 ? AF_INET6 : AF_INET, bytes.data(), text.data(),
                                 static_cast<socklen_t>(text.size())) == nullptr) {
        return {};
    }
    return text.data();
}

}  // namespace culvert::datapath
