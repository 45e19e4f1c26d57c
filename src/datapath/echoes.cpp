// SPDX-License-Identifier: Apache-2.0
#include "datapath/echoes.hpp"

#include "abi/echo.h"
#include "abi/limits.h"
#include "base/assert.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace culvert::datapath {
namespace {

constexpr std::size_t kVxlanBytes = 8;
constexpr std::size_t kEthernetBytes = 14;
constexpr std::size_t kFrameBytes = kVxlanBytes + kEthernetBytes + sizeof(cv_echo_wire);
constexpr std::size_t kBatch = 64;

using Frame = std::array<std::uint8_t, kFrameBytes>;

SteadyTime time_of(std::uint64_t ns) { return SteadyTime(std::chrono::nanoseconds(ns)); }

class MappedEchoes final : public Echoes {
  public:
    MappedEchoes() = default;
    MappedEchoes(const MappedEchoes&) = delete;
    MappedEchoes& operator=(const MappedEchoes&) = delete;
    ~MappedEchoes() override {
        if (echoes_ != nullptr) {
            ::munmap(echoes_, kBytes);
        }
    }

    Status map(int fd) {
        void* at = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED) {
            return std::unexpected(error_from_errno(errno, "map cv_echoes"));
        }
        echoes_ = static_cast<cv_echo*>(at);
        return {};
    }

    void expect(std::uint32_t node, std::uint64_t nonce, std::uint64_t relay_nonce) override {
        CULVERT_ASSERT(node < CV_NODES_MAX);
        std::atomic_ref(echoes_[node].nonce).store(nonce, std::memory_order_relaxed);
        std::atomic_ref(echoes_[node].relay_nonce).store(relay_nonce, std::memory_order_relaxed);
    }

    // The sequence first: what is read after it is at least as new.
    Heard heard(std::uint32_t node) const override {
        CULVERT_ASSERT(node < CV_NODES_MAX);
        cv_echo& echo = echoes_[node];
        Heard out;
        out.sequence = std::atomic_ref(echo.sequence).load(std::memory_order_acquire);
        out.answers = std::atomic_ref(echo.answers).load(std::memory_order_relaxed);
        out.fenced = std::atomic_ref(echo.fenced).load(std::memory_order_relaxed) != 0;
        out.at = time_of(std::atomic_ref(echo.heard_ns).load(std::memory_order_relaxed));
        out.relay_sequence = std::atomic_ref(echo.relay_sequence).load(std::memory_order_acquire);
        out.relayed_at =
            time_of(std::atomic_ref(echo.relay_heard_ns).load(std::memory_order_relaxed));
        return out;
    }

  private:
    static constexpr std::size_t kBytes = sizeof(cv_echo) * CV_NODES_MAX;
    cv_echo* echoes_ = nullptr;
};

Frame frame_of(const EchoWish& wish) {
    Frame out{};
    const auto head = between_nodes(CV_ECHO_ETHERTYPE);
    std::copy(head.begin(), head.end(), out.begin());
    cv_echo_wire wire{};
    wire.version = CV_ECHO_VERSION;
    wire.step = wish.relay == 0 ? CV_ECHO_ASK : CV_ECHO_RELAY_ASK;
    wire.origin = htonl(wish.origin);
    wire.target = htonl(wish.target);
    wire.relay = htonl(wish.relay);
    wire.sequence = htonl(wish.sequence);
    wire.nonce = wish.nonce;
    std::memcpy(&out[head.size()], &wire, sizeof(wire));
    return out;
}

sockaddr_in socket_address(const OuterAddress& address, std::uint16_t port) {
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(port);
    std::memcpy(&out.sin_addr, address.bytes.data(), sizeof(out.sin_addr));
    return out;
}

// Whether the error says something about the way to that node; all others are this machine's.
bool of_the_path(int error) {
    return error == ENETUNREACH || error == EHOSTUNREACH || error == ECONNREFUSED;
}

class UdpEchoSocket final : public EchoSocket {
  public:
    UdpEchoSocket(runtime::Fd fd, std::string backbone, std::uint16_t udp_port)
        : fd_(std::move(fd)), backbone_(std::move(backbone)), udp_port_(udp_port) {}

    std::vector<bool> send(std::span<const EchoWish> wishes) override {
        std::vector<bool> out;
        out.reserve(wishes.size());
        while (!wishes.empty()) {
            const auto batch = wishes.first(std::min(wishes.size(), kBatch));
            send_batch(batch, out);
            wishes = wishes.subspan(batch.size());
        }
        return out;
    }

    bool send(const OuterAddress& to, std::span<const std::uint8_t> frame) override {
        const sockaddr_in address = socket_address(to, udp_port_);
        return ::sendto(fd_.get(), frame.data(), frame.size(), MSG_DONTWAIT,
                        reinterpret_cast<const sockaddr*>(&address), sizeof(address)) >= 0;
    }

    bool has_carrier() const override {
        ifreq request{};
        backbone_.copy(static_cast<char*>(request.ifr_name), IFNAMSIZ - 1);
        if (::ioctl(fd_.get(), SIOCGIFFLAGS, &request) != 0) {
            return false;
        }
        const auto flags = static_cast<unsigned>(request.ifr_flags);
        return (flags & IFF_UP) != 0 && (flags & IFF_RUNNING) != 0;
    }

  private:
    void send_batch(std::span<const EchoWish> wishes, std::vector<bool>& out) {
        std::array<Frame, kBatch> frames;
        std::array<sockaddr_in, kBatch> to{};
        std::array<iovec, kBatch> pieces{};
        std::array<mmsghdr, kBatch> messages{};
        for (std::size_t at = 0; at < wishes.size(); ++at) {
            frames[at] = frame_of(wishes[at]);
            to[at] = socket_address(wishes[at].to, udp_port_);
            pieces[at] = {.iov_base = frames[at].data(), .iov_len = frames[at].size()};
            messages[at].msg_hdr.msg_name = &to[at];
            messages[at].msg_hdr.msg_namelen = sizeof(to[at]);
            messages[at].msg_hdr.msg_iov = &pieces[at];
            messages[at].msg_hdr.msg_iovlen = 1;
        }
        for (std::size_t done = 0; done < wishes.size();) {
            const int sent = ::sendmmsg(fd_.get(), messages.data() + done,
                                        static_cast<unsigned>(wishes.size() - done), MSG_DONTWAIT);
            if (sent <= 0) {
                out.push_back(of_the_path(errno));
                ++done;
                continue;
            }
            out.insert(out.end(), static_cast<std::size_t>(sent), true);
            done += static_cast<std::size_t>(sent);
        }
    }

    runtime::Fd fd_;
    std::string backbone_;
    std::uint16_t udp_port_;
};

}  // namespace

std::vector<std::uint8_t> between_nodes(std::uint16_t type) {
    std::vector<std::uint8_t> out(kVxlanBytes + kEthernetBytes);
    out[0] = CV_VXLAN_FLAG_VNI;
    const std::uint32_t vni = htonl(CV_ECHO_VNI << 8);
    std::memcpy(&out[4], &vni, sizeof(vni));
    std::uint8_t* ethernet = &out[kVxlanBytes];
    for (std::uint8_t* mac : {ethernet, ethernet + 6}) {  // the router's, which names no NIC
        mac[0] = CV_MAC_OUI0;
        mac[1] = CV_MAC_OUI1;
    }
    const std::uint16_t in_order = htons(type);
    std::memcpy(ethernet + 12, &in_order, sizeof(in_order));
    return out;
}

Result<std::unique_ptr<Echoes>> Echoes::open(const Datapath& datapath) {
    const int fd = datapath.map("cv_echoes");
    if (fd < 0) {
        return fail(Code::kInternal, "map cv_echoes: not in the programs");
    }
    auto out = std::make_unique<MappedEchoes>();
    if (auto mapped = out->map(fd); !mapped) {
        return std::unexpected(std::move(mapped.error()));
    }
    return out;
}

Result<std::unique_ptr<EchoSocket>> EchoSocket::open(const std::string& backbone,
                                                     const OuterAddress& outer,
                                                     std::uint16_t udp_port) {
    const auto failed = [&](const char* doing) {
        return std::unexpected(
            error_from_errno(errno, fmt::format("echo socket: {} {}", doing, outer.str())));
    };
    if (outer.family != 4) {
        return fail(Code::kInvalidArgument, "echo socket: the backbone address has to be IPv4");
    }
    runtime::Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) {
        return failed("make");
    }
    const int no_checksum = 1;  // the data plane changes frames in place
    const int do_not_fragment = IP_PMTUDISC_DO;
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_NO_CHECK, &no_checksum, sizeof(no_checksum)) != 0 ||
        ::setsockopt(fd.get(), IPPROTO_IP, IP_MTU_DISCOVER, &do_not_fragment,
                     sizeof(do_not_fragment)) != 0 ||
        ::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, backbone.c_str(),
                     static_cast<socklen_t>(backbone.size())) != 0) {
        return failed("prepare");
    }
    const sockaddr_in from = socket_address(outer, 0);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&from), sizeof(from)) != 0) {
        return failed("bind to");
    }
    return std::make_unique<UdpEchoSocket>(std::move(fd), backbone, udp_port);
}

}  // namespace culvert::datapath
