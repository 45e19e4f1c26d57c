// SPDX-License-Identifier: Apache-2.0
#include "datapath/services.hpp"

#include "abi/alias.h"
#include "base/assert.hpp"
#include "base/log.hpp"
#include "datapath/attach.hpp"
#include "datapath/kernel_map.hpp"
#include "datapath/netlink.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <thread>
#include <utility>

namespace culvert::datapath {
namespace {

constexpr const char* kOwnNamespace = "/proc/thread-self/ns/net";
constexpr std::uint32_t kMtu = 1280;  // small enough for every workload's path
constexpr std::uint8_t kWholeAddress = 32;

Result<runtime::Fd> own_namespace() {
    runtime::Fd fd(::open(kOwnNamespace, O_RDONLY | O_CLOEXEC));
    return fd ? Result<runtime::Fd>(std::move(fd))
              : std::unexpected(error_from_errno(errno, "open network namespace"));
}

// A new namespace takes over what the host has set: nothing is forwarded here, nobody teaches it
// routes, and it has no IPv6.
Status harden() {
    constexpr std::array<std::pair<const char*, const char*>, 9> kSettings{
        {{"ipv4/ip_forward", "0"},
         {"ipv4/conf/all/accept_redirects", "0"},
         {"ipv4/conf/default/accept_redirects", "0"},
         {"ipv4/conf/all/accept_source_route", "0"},
         {"ipv4/conf/all/rp_filter", "0"},
         {"ipv4/conf/default/rp_filter", "0"},
         {"ipv4/tcp_fin_timeout", "5"},
         {"ipv6/conf/all/disable_ipv6", "1"},
         {"ipv6/conf/default/disable_ipv6", "1"}}};
    for (const auto& [name, value] : kSettings) {
        const auto path = fmt::format("/proc/sys/net/{}", name);
        const runtime::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
        if (!fd && errno == ENOENT) {
            continue;  // a kernel without IPv6
        }
        if (!fd || ::write(fd.get(), value, 1) != 1) {
            return std::unexpected(error_from_errno(errno, fmt::format("write {}", path)));
        }
    }
    return {};
}

Result<runtime::Fd> make_namespace() {
    Result<runtime::Fd> out = fail(Code::kInternal, "make network namespace");
    // unshare moves one thread: a thread of its own, which ends here
    std::thread([&] {
        if (::unshare(CLONE_NEWNET) != 0) {
            out = std::unexpected(error_from_errno(errno, "make network namespace"));
            return;
        }
        auto hardened = harden();
        out = hardened ? own_namespace() : std::unexpected(std::move(hardened.error()));
    }).join();
    return out;
}

class NamespaceServices final : public Services {
  public:
    NamespaceServices(const Datapath& datapath, const ServicesOptions& options)
        : owner_(options.owner),
          base_(options.base),
          attacher_(Attacher::make(datapath, options.force_clsact)),
          place_(datapath.map("cv_alias"), "cv_alias") {}
    NamespaceServices(const NamespaceServices&) = delete;
    NamespaceServices& operator=(const NamespaceServices&) = delete;
    ~NamespaceServices() override {
        if (ifindex_ != 0) {
            static_cast<void>(place_.put(0, {}));
            static_cast<void>(attacher_->detach(ifindex_));
            static_cast<void>(netlink_->remove_link(ifindex_));
        }
    }

    Status start() {
        auto host = own_namespace();
        auto inside = make_namespace();
        auto netlink = Netlink::open();
        if (!host || !inside || !netlink) {
            return std::unexpected(!host     ? std::move(host.error())
                                   : !inside ? std::move(inside.error())
                                             : std::move(netlink.error()));
        }
        host_ = std::move(*host);
        inside_ = std::move(*inside);
        netlink_ = std::move(*netlink);
        CULVERT_TRY_STATUS(make_pair());
        CULVERT_TRY_STATUS(equip());
        return place_.put(0, cv_alias{.ifindex = ifindex_, .base = base_.value});
    }

    Result<runtime::Fd> socket(int type) override {
        if (::setns(inside_.get(), CLONE_NEWNET) != 0) {
            return std::unexpected(error_from_errno(errno, "enter the services' namespace"));
        }
        runtime::Fd out(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        const int error = errno;
        // INVARIANT: no thread stays in another namespace
        CULVERT_ASSERT(::setns(host_.get(), CLONE_NEWNET) == 0);
        return out ? Result<runtime::Fd>(std::move(out))
                   : std::unexpected(error_from_errno(error, "make a socket of the services"));
    }

    Result<net::Ipv4> alias(std::uint32_t nic) const override {
        if (nic == 0 || nic >= CV_ALIAS_MAX) {
            return fail(Code::kTooLarge, fmt::format("no alias for network interface {}", nic));
        }
        return net::Ipv4{base_.value + nic};
    }

  private:
    Status make_pair() {
        if (const auto left = netlink_->link(kServicesHostIfname)) {
            if (left->alias != owner_) {
                return fail(Code::kConflict,
                            fmt::format("interface {} is somebody else's", kServicesHostIfname));
            }
            CULVERT_TRY_STATUS(netlink_->remove_link(left->ifindex));
        }
        CULVERT_TRY_STATUS(netlink_->make_veth({.host_name = kServicesHostIfname,
                                                .host_alias = owner_,
                                                .host_mac = net::Mac::of_nic(0),
                                                .peer_netns = inside_.get(),
                                                .peer_name = kServicesIfname,
                                                .peer_mac = net::Mac::of_nic(0),
                                                .mtu = kMtu}));
        const auto made = netlink_->link(kServicesHostIfname);
        if (!made) {
            return std::unexpected(made.error());
        }
        ifindex_ = made->ifindex;
        if (auto quiet = disable_ipv6(kServicesHostIfname); !quiet) {
            spdlog::warn("agent: {}", quiet.error().message);
        }
        attacher_->sweep();
        if (auto attached = attacher_->attach(ifindex_, Hook::kServices); !attached) {
            return std::unexpected(std::move(attached.error()));
        }
        return netlink_->set_up(ifindex_);
    }

    // Its address and the way to the aliases; nobody is asked for a MAC.
    Status equip() {
        auto inside = Netlink::open_in(inside_.get());
        if (!inside) {
            return std::unexpected(std::move(inside.error()));
        }
        const auto link = (*inside)->link(kServicesIfname);
        if (!link) {
            return std::unexpected(link.error());
        }
        CULVERT_TRY_STATUS(
            (*inside)->add_address(link->ifindex, net::Ipv4{CV_PLATFORM_ADDRESS}, kWholeAddress));
        CULVERT_TRY_STATUS((*inside)->set_up_without_arp(link->ifindex));
        return (*inside)->add_route(link->ifindex, {base_, CV_ALIAS_PREFIX}, std::nullopt);
    }

    const std::string owner_;
    const net::Ipv4 base_;
    std::unique_ptr<Attacher> attacher_;
    KernelMap<std::uint32_t, cv_alias> place_;
    runtime::Fd host_;
    runtime::Fd inside_;
    std::unique_ptr<Netlink> netlink_;
    std::uint32_t ifindex_ = 0;
};

}  // namespace

Result<std::unique_ptr<Services>> Services::open(const Datapath& datapath,
                                                 const ServicesOptions& options) {
    auto out = std::make_unique<NamespaceServices>(datapath, options);
    if (auto started = out->start(); !started) {
        return std::unexpected(prefixed(std::move(started.error()), "services"));
    }
    return out;
}

}  // namespace culvert::datapath
