// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink.hpp"

#include "datapath/ethtool.hpp"
#include "datapath/rtnl.hpp"
#include "runtime/fd.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

namespace culvert::datapath {
namespace {

using rtnl::Answer;
using rtnl::Bytes;
using rtnl::Message;

// where a default route exists already, ours comes behind it
constexpr std::uint32_t kSecondDefaultMetric = 1024;
// The host's end takes whatever the workload sends: else the kernel drops in silence what the data
// plane would tell the sender about.
constexpr std::uint32_t kHostMtu = 65535;

LinkFacts facts_of(const Answer& answer) {
    LinkFacts out;
    const auto* head = answer.header<ifinfomsg>();
    if (head == nullptr) {
        return out;
    }
    const auto attribute = [&](std::uint16_t type) {
        return answer.attribute(sizeof(ifinfomsg), type);
    };
    out.ifindex = static_cast<std::uint32_t>(head->ifi_index);
    out.up = (head->ifi_flags & IFF_UP) != 0;
    out.name = rtnl::as_text(attribute(IFLA_IFNAME));
    out.alias = rtnl::as_text(attribute(IFLA_IFALIAS));
    out.kind = rtnl::as_text(rtnl::nested(attribute(IFLA_LINKINFO), IFLA_INFO_KIND));
    out.mtu = rtnl::as_u32(attribute(IFLA_MTU));
    if (const Bytes mac = attribute(IFLA_ADDRESS); mac.size() == out.mac.bytes.size()) {
        std::copy(mac.begin(), mac.end(), out.mac.bytes.begin());
    }
    return out;
}

OuterAddress outer_of(std::uint8_t family, Bytes value) {
    OuterAddress out;
    const std::size_t want = family == AF_INET ? 4 : 16;
    if (value.size() == want) {
        out.family = family == AF_INET ? 4 : 6;
        std::copy(value.begin(), value.end(), out.bytes.begin());
    }
    return out;
}

ifinfomsg by_index(std::uint32_t ifindex) {
    ifinfomsg head{};
    head.ifi_family = AF_UNSPEC;
    head.ifi_index = static_cast<int>(ifindex);
    return head;
}

class KernelNetlink final : public Netlink {
  public:
    explicit KernelNetlink(rtnl::Socket socket) : socket_(std::move(socket)) {}

    Result<LinkFacts> link(const std::string& name) override {
        Message request(RTM_GETLINK, NLM_F_ACK);
        request.header(by_index(0)).text(IFLA_IFNAME, name);
        std::optional<LinkFacts> out;
        auto done = socket_.exchange(request, fmt::format("interface {}", name),
                                     [&](const Answer& answer) { out = facts_of(answer); });
        if (!done) {
            return std::unexpected(std::move(done.error()));
        }
        if (!out) {
            return fail(Code::kNotFound, fmt::format("interface {}: no answer", name));
        }
        return *std::move(out);
    }

    Result<std::vector<LinkFacts>> links() override {
        Message request(RTM_GETLINK, NLM_F_DUMP);
        request.header(by_index(0));
        std::vector<LinkFacts> out;
        auto done = socket_.exchange(request, "list interfaces", [&](const Answer& answer) {
            out.push_back(facts_of(answer));
        });
        if (!done) {
            return std::unexpected(std::move(done.error()));
        }
        return out;
    }

    Status make_veth(const VethRequest& wish) override {
        Message request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        request.header(by_index(0))
            .text(IFLA_IFNAME, wish.host_name)
            .u32(IFLA_MTU, kHostMtu)
            .attribute(IFLA_ADDRESS, wish.host_mac.bytes);
        const auto info = request.begin(IFLA_LINKINFO);
        request.text(IFLA_INFO_KIND, "veth");
        const auto data = request.begin(IFLA_INFO_DATA);
        const auto peer = request.begin(VETH_INFO_PEER);
        request.header(by_index(0))
            .text(IFLA_IFNAME, wish.peer_name)
            .u32(IFLA_MTU, wish.mtu)
            .attribute(IFLA_ADDRESS, wish.peer_mac.bytes)
            .u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(wish.peer_netns));
        request.end(peer).end(data).end(info);
        const auto doing = fmt::format("make veth {} to {}", wish.host_name, wish.peer_name);
        CULVERT_TRY_STATUS(socket_.exchange(request, doing));
        auto made = link(wish.host_name);
        if (!made) {
            return std::unexpected(prefixed(std::move(made.error()), doing));
        }
        // RTM_NEWLINK that creates does not take an alias
        Message alias(RTM_SETLINK, NLM_F_ACK);
        alias.header(by_index(made->ifindex)).text(IFLA_IFALIAS, wish.host_alias);
        if (auto set = socket_.exchange(alias, doing); !set) {
            static_cast<void>(remove_link(made->ifindex));
            return set;
        }
        return {};
    }

    Status describe(std::uint32_t ifindex, const std::string& alias, const net::Mac& mac,
                    std::uint32_t mtu) override {
        Message request(RTM_SETLINK, NLM_F_ACK);
        request.header(by_index(ifindex))
            .text(IFLA_IFALIAS, alias)
            .attribute(IFLA_ADDRESS, mac.bytes)
            .u32(IFLA_MTU, mtu);
        return socket_.exchange(request, fmt::format("describe interface {}", ifindex));
    }

    Status set_up(std::uint32_t ifindex) override { return set_flags(ifindex, IFF_UP, "up"); }
    Status set_up_without_arp(std::uint32_t ifindex) override {
        return set_flags(ifindex, IFF_UP | IFF_NOARP, "up");
    }
    Status set_down(std::uint32_t ifindex) override { return set_flags(ifindex, 0, "down"); }

    Status rename(std::uint32_t ifindex, const std::string& name) override {
        Message request(RTM_NEWLINK, NLM_F_ACK);
        request.header(by_index(ifindex)).text(IFLA_IFNAME, name);
        return socket_.exchange(request, fmt::format("name interface {} {}", ifindex, name));
    }

    Status disable_feature(const std::string& ifname, std::string_view feature) override {
        return datapath::disable_feature(socket_.fd(), ifname, feature);
    }

    Status remove_link(std::uint32_t ifindex) override {
        Message request(RTM_DELLINK, NLM_F_ACK);
        request.header(by_index(ifindex));
        return socket_.exchange(request, fmt::format("remove interface {}", ifindex));
    }

    Status add_address(std::uint32_t ifindex, net::Ipv4 address, std::uint8_t length) override {
        ifaddrmsg head{};
        head.ifa_family = AF_INET;
        head.ifa_prefixlen = length;
        head.ifa_index = ifindex;
        Message request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        request.header(head).u32(IFA_LOCAL, address.to_be()).u32(IFA_ADDRESS, address.to_be());
        return socket_.exchange(request, fmt::format("add address {}/{}", address.str(), length));
    }

    Status add_address(std::uint32_t ifindex, const net::Ipv6& address,
                       std::uint8_t length) override {
        ifaddrmsg head{};
        head.ifa_family = AF_INET6;
        head.ifa_prefixlen = length;
        head.ifa_flags = IFA_F_NODAD;
        head.ifa_index = ifindex;
        Message request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        request.header(head)
            .attribute(IFA_LOCAL, Bytes(address.bytes.data(), address.bytes.size()))
            .attribute(IFA_ADDRESS, Bytes(address.bytes.data(), address.bytes.size()));
        return socket_.exchange(request, fmt::format("add address {}/{}", address.str(), length));
    }

    Status add_default_route(std::uint32_t ifindex, const net::Ipv6& gateway) override {
        rtmsg head{};
        head.rtm_family = AF_INET6;
        head.rtm_table = RT_TABLE_MAIN;
        head.rtm_protocol = RTPROT_STATIC;
        head.rtm_scope = RT_SCOPE_UNIVERSE;
        head.rtm_type = RTN_UNICAST;
        head.rtm_flags = RTNH_F_ONLINK;
        Message request(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        request.header(head)
            .u32(RTA_OIF, ifindex)
            .u32(RTA_PRIORITY, kSecondDefaultMetric + ifindex)
            .attribute(RTA_GATEWAY, Bytes(gateway.bytes.data(), gateway.bytes.size()));
        return socket_.exchange(request, fmt::format("add default route by {}", gateway.str()));
    }

    Status add_default_route(std::uint32_t ifindex, net::Ipv4 gateway) override {
        auto added = add_route(ifindex, {}, gateway, 0);
        if (!added && added.error().code == Code::kConflict) {
            return add_route(ifindex, {}, gateway, kSecondDefaultMetric + ifindex);
        }
        return added;
    }

    Status add_route(std::uint32_t ifindex, const net::Ipv4Prefix& to,
                     std::optional<net::Ipv4> gateway) override {
        return add_route(ifindex, to, gateway, 0);
    }

    Result<RouteFacts> route_to(const OuterAddress& destination) override {
        rtmsg head{};
        head.rtm_family = destination.family == 6 ? AF_INET6 : AF_INET;
        head.rtm_dst_len = static_cast<std::uint8_t>(destination.length() * 8);
        Message request(RTM_GETROUTE, NLM_F_ACK);
        request.header(head).attribute(RTA_DST,
                                       Bytes(destination.bytes.data(), destination.length()));
        RouteFacts out;
        out.next_hop = destination;
        const auto doing = fmt::format("route to {}", destination.str());
        auto done = socket_.exchange(request, doing, [&](const Answer& answer) {
            const auto* route = answer.header<rtmsg>();
            if (route == nullptr || answer.type() != RTM_NEWROUTE) {
                return;
            }
            out.ifindex = rtnl::as_u32(answer.attribute(sizeof(rtmsg), RTA_OIF));
            const auto gateway =
                outer_of(route->rtm_family, answer.attribute(sizeof(rtmsg), RTA_GATEWAY));
            if (gateway.family != 0) {
                out.next_hop = gateway;
            }
        });
        if (!done) {
            return std::unexpected(std::move(done.error()));
        }
        if (out.ifindex == 0) {
            return fail(Code::kUnavailable, fmt::format("{}: none", doing));
        }
        return out;
    }

    Result<std::vector<OuterAddress>> addresses(std::uint32_t ifindex) override {
        ifaddrmsg head{};
        head.ifa_family = AF_UNSPEC;
        Message request(RTM_GETADDR, NLM_F_DUMP);
        request.header(head);
        std::vector<OuterAddress> out;
        auto done = socket_.exchange(request, "list addresses", [&](const Answer& answer) {
            const auto* found = answer.header<ifaddrmsg>();
            if (found == nullptr || found->ifa_index != ifindex) {
                return;
            }
            Bytes value = answer.attribute(sizeof(ifaddrmsg), IFA_LOCAL);
            if (value.empty()) {
                value = answer.attribute(sizeof(ifaddrmsg), IFA_ADDRESS);
            }
            const auto address = outer_of(found->ifa_family, value);
            if (address.family != 0) {
                out.push_back(address);
            }
        });
        if (!done) {
            return std::unexpected(std::move(done.error()));
        }
        return out;
    }

  private:
    Status set_flags(std::uint32_t ifindex, unsigned flags, std::string_view word) {
        ifinfomsg head = by_index(ifindex);
        head.ifi_flags = flags;
        head.ifi_change = IFF_UP | flags;
        Message request(RTM_NEWLINK, NLM_F_ACK);
        request.header(head);
        return socket_.exchange(request, fmt::format("set interface {} {}", ifindex, word));
    }

    Status add_route(std::uint32_t ifindex, const net::Ipv4Prefix& to,
                     std::optional<net::Ipv4> gateway, std::uint32_t metric) {
        rtmsg head{};
        head.rtm_dst_len = to.length;
        head.rtm_family = AF_INET;
        head.rtm_table = RT_TABLE_MAIN;
        head.rtm_protocol = RTPROT_STATIC;
        head.rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
        head.rtm_type = RTN_UNICAST;
        head.rtm_flags = gateway ? RTNH_F_ONLINK : 0;
        Message request(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        request.header(head).u32(RTA_OIF, ifindex);
        if (to.length != 0) {
            request.u32(RTA_DST, to.base.to_be());
        }
        if (gateway) {
            request.u32(RTA_GATEWAY, gateway->to_be());
        }
        if (metric != 0) {
            request.u32(RTA_PRIORITY, metric);
        }
        return socket_.exchange(request,
                                fmt::format("add route to {}/{}{}{}", to.base.str(), to.length,
                                            gateway ? " by " : "", gateway ? gateway->str() : ""));
    }

    rtnl::Socket socket_;
};

}  // namespace

Result<std::unique_ptr<Netlink>> Netlink::open() {
    auto socket = rtnl::Socket::open();
    if (!socket) {
        return std::unexpected(std::move(socket.error()));
    }
    return std::make_unique<KernelNetlink>(std::move(*socket));
}

Result<std::unique_ptr<Netlink>> Netlink::open_in(int netns) {
    Result<std::unique_ptr<Netlink>> out = fail(Code::kInternal, "enter network namespace");
    // setns moves one thread: a thread of its own, which ends here
    std::thread([&] {
        if (::setns(netns, CLONE_NEWNET) != 0) {
            out = std::unexpected(error_from_errno(errno, "enter network namespace"));
            return;
        }
        out = open();
    }).join();
    return out;
}

Result<NetnsFile> open_netns(const std::string& path) {
    runtime::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    const auto doing = fmt::format("open network namespace {}", path);
    if (!fd) {
        return std::unexpected(error_from_errno(errno, doing));
    }
    struct statfs filesystem{};
    struct stat file{};
    if (::fstatfs(fd.get(), &filesystem) != 0 || ::fstat(fd.get(), &file) != 0) {
        return std::unexpected(error_from_errno(errno, doing));
    }
    if (filesystem.f_type != NSFS_MAGIC || ::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET) {
        return fail(Code::kInvalidArgument, fmt::format("{}: not a network namespace", doing));
    }
    return NetnsFile{.fd = std::move(fd), .device = file.st_dev, .inode = file.st_ino};
}

Status disable_ipv6(const std::string& ifname) {
    const auto path = fmt::format("/proc/sys/net/ipv6/conf/{}/disable_ipv6", ifname);
    const runtime::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd && errno == ENOENT) {
        return {};  // a kernel without IPv6
    }
    if (!fd || ::write(fd.get(), "1", 1) != 1) {
        return std::unexpected(error_from_errno(errno, fmt::format("write {}", path)));
    }
    return {};
}

}  // namespace culvert::datapath
