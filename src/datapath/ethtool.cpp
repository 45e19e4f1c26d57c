// SPDX-License-Identifier: Apache-2.0
#include "datapath/ethtool.hpp"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

namespace culvert::datapath {
namespace {

constexpr std::uint32_t kWordBits = 32;
constexpr std::uint32_t kFeaturesMax = 1024;  // the kernel has less than 100

// A command of ethtool: a header and words behind it.
template <typename Header>
class Request {
  public:
    explicit Request(std::size_t words)
        : words_(sizeof(Header) / sizeof(std::uint32_t) + words, 0) {}
    Header& header() { return *reinterpret_cast<Header*>(words_.data()); }
    const char* text() const {
        return reinterpret_cast<const char*>(words_.data()) + sizeof(Header);
    }
    std::uint32_t& word(std::size_t at) {
        return words_[sizeof(Header) / sizeof(std::uint32_t) + at];
    }

    Status send(int socket, const std::string& ifname) {
        ifreq request{};
        ifname.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
        request.ifr_data = reinterpret_cast<char*>(words_.data());
        if (::ioctl(socket, SIOCETHTOOL, &request) != 0) {
            return std::unexpected(error_from_errno(errno, fmt::format("features of {}", ifname)));
        }
        return {};
    }

  private:
    std::vector<std::uint32_t> words_;
};

Result<std::uint32_t> count_features(int socket, const std::string& ifname) {
    Request<ethtool_sset_info> request(1);
    request.header().cmd = ETHTOOL_GSSET_INFO;
    request.header().sset_mask = 1u << ETH_SS_FEATURES;
    CULVERT_TRY_STATUS(request.send(socket, ifname));
    const std::uint32_t count = request.header().sset_mask == 0 ? 0 : request.word(0);
    if (count > kFeaturesMax) {
        return fail(Code::kInternal, fmt::format("{} has {} features", ifname, count));
    }
    return count;
}

// The feature's number.
Result<std::optional<std::uint32_t>> find_feature(int socket, const std::string& ifname,
                                                  std::uint32_t count, std::string_view feature) {
    Request<ethtool_gstrings> request(count * ETH_GSTRING_LEN / sizeof(std::uint32_t));
    request.header().cmd = ETHTOOL_GSTRINGS;
    request.header().string_set = ETH_SS_FEATURES;
    request.header().len = count;
    CULVERT_TRY_STATUS(request.send(socket, ifname));
    for (std::uint32_t number = 0; number < count; ++number) {
        const char* name = request.text() + std::size_t{number} * ETH_GSTRING_LEN;
        if (std::string_view(name, ::strnlen(name, ETH_GSTRING_LEN)) == feature) {
            return number;
        }
    }
    return std::nullopt;
}

}  // namespace

Status disable_feature(int socket, const std::string& ifname, std::string_view feature) {
    const auto count = count_features(socket, ifname);
    if (!count) {
        return std::unexpected(count.error());
    }
    const auto number = find_feature(socket, ifname, *count, feature);
    if (!number) {
        return std::unexpected(number.error());
    }
    if (!*number) {
        return {};
    }
    const std::uint32_t blocks = (*count + kWordBits - 1) / kWordBits;
    Request<ethtool_sfeatures> request(std::size_t{blocks} * 2);  // valid, requested
    request.header().cmd = ETHTOOL_SFEATURES;
    request.header().size = blocks;
    request.word(std::size_t{**number / kWordBits} * 2) = 1u << **number % kWordBits;
    return request.send(socket, ifname);
}

}  // namespace culvert::datapath
