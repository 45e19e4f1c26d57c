// SPDX-License-Identifier: Apache-2.0
#include "tests/packet/packet.hpp"

#include <arpa/inet.h>

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <stdexcept>

namespace culvert::packet {
namespace {

void put8(Bytes& out, std::uint32_t value) { out.push_back(static_cast<std::uint8_t>(value)); }

void put16(Bytes& out, std::uint32_t value) {
    put8(out, value >> 8);
    put8(out, value);
}

void put32(Bytes& out, std::uint32_t value) {
    put16(out, value >> 16);
    put16(out, value);
}

void put(Bytes& out, const net::Mac& mac) {
    out.insert(out.end(), mac.bytes.begin(), mac.bytes.end());
}

void put(Bytes& out, const Bytes& bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

void set16(Bytes& out, std::size_t at, std::uint32_t value) {
    out.at(at) = static_cast<std::uint8_t>(value >> 8);
    out.at(at + 1) = static_cast<std::uint8_t>(value);
}

std::uint32_t get16(const Bytes& in, std::size_t at) {
    return static_cast<std::uint32_t>(in.at(at) << 8 | in.at(at + 1));
}

std::uint32_t get32(const Bytes& bytes, std::size_t at) {
    return get16(bytes, at) << 16 | get16(bytes, at + 2);
}

std::uint32_t sum(const Bytes& bytes, std::size_t from, std::size_t to) {
    std::uint32_t total = 0;
    for (std::size_t at = from; at < to; at += 2) {
        total += at + 1 < to ? get16(bytes, at) : static_cast<std::uint32_t>(bytes[at] << 8);
    }
    return total;
}

// RFC 1071
std::uint32_t fold(std::uint32_t total) {
    while (total >> 16) {
        total = (total & 0xffff) + (total >> 16);
    }
    return ~total & 0xffff;
}

struct Builder {
    Bytes inner;                           // what has been built so far, innermost first
    std::optional<std::uint8_t> protocol;  // of the transport just built
    std::size_t checksum_at = 0;           // of the transport, 0: none

    void operator()(const EthLayer& eth) {
        Bytes out;
        put(out, eth.destination);
        put(out, eth.source);
        put16(out, eth.type);
        wrap(std::move(out));
    }
    void operator()(const ArpLayer& arp) {
        Bytes out;
        put16(out, 1);
        put16(out, 0x0800);
        put8(out, 6);
        put8(out, arp.address_bytes);
        put16(out, arp.operation);
        put(out, arp.sender_mac);
        put32(out, ntohl(arp.sender));
        put(out, arp.target_mac);
        put32(out, ntohl(arp.target));
        wrap(std::move(out));
    }
    void operator()(const Ipv4Layer& layer) {
        Bytes out;
        const auto number = layer.protocol ? layer.protocol : protocol.value_or(253);
        const auto header = 20u + layer.options;
        put8(out, static_cast<std::uint32_t>(layer.version << 4) | header / 4);
        put8(out, layer.tos);
        put16(out, static_cast<std::uint32_t>(static_cast<std::int32_t>(header + inner.size()) +
                                              layer.length_error));
        put16(out, layer.id);
        put16(out, layer.fragment);
        put8(out, layer.ttl);
        put8(out, number);
        put16(out, 0);
        put32(out, ntohl(layer.source));
        put32(out, ntohl(layer.destination));
        out.resize(header, 1);  // no-operation options
        set16(out, 10, fold(sum(out, 0, header)));
        if (checksum_at) {
            const auto pseudo =
                sum(out, 12, 20) + number + static_cast<std::uint32_t>(inner.size());
            auto check = fold(pseudo + sum(inner, 0, inner.size()));
            set16(inner, checksum_at, check == 0 && number == 17 ? 0xffff : check);
        }
        wrap(std::move(out));
    }
    void operator()(const Ipv6Layer& layer) {
        Bytes out;
        const auto number = layer.next.value_or(protocol.value_or(253));
        put32(out, 6u << 28 | static_cast<std::uint32_t>(layer.traffic_class) << 20 | layer.label);
        put16(out, static_cast<std::uint32_t>(static_cast<std::int32_t>(inner.size()) +
                                              layer.length_error));
        put8(out, number);
        put8(out, layer.hops);
        out.insert(out.end(), layer.source.begin(), layer.source.end());
        out.insert(out.end(), layer.destination.begin(), layer.destination.end());
        if (checksum_at) {
            const auto pseudo = sum(out, 8, 40) + number + static_cast<std::uint32_t>(inner.size());
            auto check = fold(pseudo + sum(inner, 0, inner.size()));
            set16(inner, checksum_at, check == 0 && number == 17 ? 0xffff : check);
        }
        wrap(std::move(out));
    }
    void operator()(const TcpLayer& tcp) {
        Bytes out;
        put16(out, tcp.source);
        put16(out, tcp.destination);
        put32(out, tcp.sequence);
        put32(out, tcp.acknowledged);
        put8(out, static_cast<std::uint32_t>(tcp.words << 4));
        put8(out, tcp.flags);
        put16(out, tcp.window);
        put32(out, 0);
        wrap(std::move(out), 6, 16);
    }
    void operator()(const UdpLayer& udp) {
        Bytes out;
        put16(out, udp.source);
        put16(out, udp.destination);
        put16(out, static_cast<std::uint32_t>(inner.size()) + 8);
        put16(out, 0);
        wrap(std::move(out), 17, udp.checksum ? 6 : 0);
    }
    void operator()(const IcmpLayer& icmp) {
        Bytes out;
        put8(out, icmp.type);
        put8(out, icmp.code);
        put16(out, 0);
        put32(out, icmp.rest);
        wrap(std::move(out), 1);
        set16(inner, 2, fold(sum(inner, 0, inner.size())));
    }
    void operator()(const Icmpv6Layer& icmp) {
        Bytes out;
        put8(out, icmp.type);
        put8(out, icmp.code);
        put16(out, 0);
        put32(out, icmp.rest);
        wrap(std::move(out), 58, 2);
    }
    void operator()(const VxlanLayer& vxlan) {
        Bytes out;
        put32(out, static_cast<std::uint32_t>(vxlan.flags << 24 | vxlan.reserved << 16));
        put32(out, vxlan.vni << 8);
        wrap(std::move(out));
    }
    void operator()(const RawLayer& raw) { wrap(Bytes(raw.bytes)); }

    void wrap(Bytes outer, std::optional<std::uint8_t> number = {}, std::size_t checksum = 0) {
        put(outer, inner);
        inner = std::move(outer);
        protocol = number;
        checksum_at = checksum;
    }
};

}  // namespace

std::uint32_t ip(std::string_view text) {
    auto parsed = net::Ipv4::parse(text);
    if (!parsed) {
        throw std::invalid_argument(fmt::format("not an address: {}", text));
    }
    return parsed->to_be();
}

Ipv6 six(const std::string& text) {
    Ipv6 address{};
    if (inet_pton(AF_INET6, text.c_str(), address.data()) != 1) {
        throw std::invalid_argument(fmt::format("not an IPv6 address: {}", text));
    }
    return address;
}

template <typename T>
T& Packet::last() {
    for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
        if (auto* found = std::get_if<T>(&*layer)) {
            return *found;
        }
    }
    throw std::logic_error("the packet has no such layer");
}

Packet& Packet::eth(net::Mac source, net::Mac destination, std::uint16_t type) {
    layers_.emplace_back(EthLayer{source, destination, type});
    return *this;
}

Packet& Packet::arp_request(net::Mac sender_mac, std::uint32_t sender, std::uint32_t target) {
    last<EthLayer>().type = 0x0806;
    layers_.emplace_back(ArpLayer{1, sender_mac, {}, sender, target});
    return *this;
}

Packet& Packet::arp_reply(net::Mac sender_mac, std::uint32_t sender, net::Mac target_mac,
                          std::uint32_t target) {
    last<EthLayer>().type = 0x0806;
    layers_.emplace_back(ArpLayer{2, sender_mac, target_mac, sender, target});
    return *this;
}

Packet& Packet::ipv4(std::uint32_t source, std::uint32_t destination) {
    layers_.emplace_back(Ipv4Layer{.source = source, .destination = destination});
    return *this;
}

Packet& Packet::ipv6(const Ipv6& source, const Ipv6& destination) {
    if (!layers_.empty()) {
        last<EthLayer>().type = 0x86dd;
    }
    layers_.emplace_back(Ipv6Layer{.source = source, .destination = destination});
    return *this;
}

Packet& Packet::tcp(std::uint16_t source, std::uint16_t destination) {
    layers_.emplace_back(TcpLayer{.source = source, .destination = destination});
    return *this;
}

Packet& Packet::udp(std::uint16_t source, std::uint16_t destination) {
    layers_.emplace_back(UdpLayer{.source = source, .destination = destination});
    return *this;
}

Packet& Packet::icmp(std::uint8_t type, std::uint8_t code, std::uint32_t rest) {
    layers_.emplace_back(IcmpLayer{.type = type, .code = code, .rest = rest});
    return *this;
}

Packet& Packet::icmpv6(std::uint8_t type, std::uint8_t code, std::uint32_t rest) {
    layers_.emplace_back(Icmpv6Layer{.type = type, .code = code, .rest = rest});
    return *this;
}

Packet& Packet::quote(const Packet& other, std::size_t bytes) {
    auto quoted = other.bytes();
    quoted.resize(std::min(bytes, quoted.size()));
    return raw(std::move(quoted));
}

Packet& Packet::vxlan(std::uint32_t vni) {
    layers_.emplace_back(VxlanLayer{.vni = vni});
    return *this;
}

Packet& Packet::payload(std::size_t bytes) {
    RawLayer raw;
    for (std::size_t i = 0; i < bytes; i++) {
        put8(raw.bytes, static_cast<std::uint32_t>(i * 7 + 3));
    }
    layers_.emplace_back(std::move(raw));
    return *this;
}

Packet& Packet::tcp_flags(std::uint8_t flags) {
    last<TcpLayer>().flags = flags;
    return *this;
}
Packet& Packet::tcp_words(std::uint8_t words) {
    last<TcpLayer>().words = words;
    return *this;
}
Packet& Packet::reset_by(std::uint8_t flags, std::uint32_t sequence, std::uint32_t acknowledged) {
    auto& segment = last<TcpLayer>();
    segment.flags = flags;
    segment.sequence = sequence;
    segment.acknowledged = acknowledged;
    segment.window = 0;
    const bool four = std::ranges::any_of(
        layers_, [](const Layer& layer) { return std::holds_alternative<Ipv4Layer>(layer); });
    return four ? ip_id(0) : *this;
}
Packet& Packet::fragment(std::uint16_t field) {
    last<Ipv4Layer>().fragment = field;
    return *this;
}
Packet& Packet::ip_options(std::uint8_t bytes) {
    last<Ipv4Layer>().options = bytes;
    return *this;
}
Packet& Packet::ip_version(std::uint8_t version) {
    last<Ipv4Layer>().version = version;
    return *this;
}
Packet& Packet::ip_length_error(std::int32_t error) {
    last<Ipv4Layer>().length_error = error;
    return *this;
}
Packet& Packet::protocol(std::uint8_t number) {
    last<Ipv4Layer>().protocol = number;
    return *this;
}
Packet& Packet::raw(Bytes bytes) {
    layers_.emplace_back(RawLayer{std::move(bytes)});
    return *this;
}
Packet& Packet::ttl(std::uint8_t hops) {
    last<Ipv4Layer>().ttl = hops;
    return *this;
}
Packet& Packet::ip_id(std::uint16_t id) {
    last<Ipv4Layer>().id = id;
    return *this;
}
Packet& Packet::hops(std::uint8_t limit) {
    last<Ipv6Layer>().hops = limit;
    return *this;
}
Packet& Packet::next_header(std::uint8_t number) {
    last<Ipv6Layer>().next = number;
    return *this;
}
Packet& Packet::traffic_class(std::uint8_t octet, std::uint32_t label) {
    last<Ipv6Layer>().traffic_class = octet;
    last<Ipv6Layer>().label = label;
    return *this;
}
Packet& Packet::ipv6_length_error(std::int32_t error) {
    last<Ipv6Layer>().length_error = error;
    return *this;
}
Packet& Packet::tos(std::uint8_t octet) {
    last<Ipv4Layer>().tos = octet;
    return *this;
}
Packet& Packet::no_checksum() {
    last<UdpLayer>().checksum = false;
    return *this;
}
Packet& Packet::vxlan_flags(std::uint8_t flags) {
    last<VxlanLayer>().flags = flags;
    return *this;
}
Packet& Packet::vxlan_reserved(std::uint8_t byte) {
    last<VxlanLayer>().reserved = byte;
    return *this;
}
Packet& Packet::arp_address_bytes(std::uint8_t bytes) {
    last<ArpLayer>().address_bytes = bytes;
    return *this;
}
Packet& Packet::cut(std::size_t bytes) {
    cut_ = bytes;
    return *this;
}

Bytes Packet::bytes() const {
    Builder builder;
    for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
        std::visit(builder, *layer);
    }
    if (cut_) {
        builder.inner.resize(std::min(cut_, builder.inner.size()));
    }
    return builder.inner;
}

namespace {

std::string address(const Bytes& frame, std::size_t at) {
    return fmt::format("{}.{}.{}.{}", frame.at(at), frame.at(at + 1), frame.at(at + 2),
                       frame.at(at + 3));
}

std::string mac(const Bytes& frame, std::size_t at) {
    net::Mac value;
    std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(at), 6, value.bytes.begin());
    return value.str();
}

std::string describe_at(const Bytes& frame, std::size_t at) {
    if (frame.size() < at + 14) {
        return fmt::format("{} bytes", frame.size() - at);
    }
    auto text = fmt::format("eth {} > {} type {:04x}", mac(frame, at + 6), mac(frame, at),
                            get16(frame, at + 12));
    const auto header = at + 14;
    if (get16(frame, at + 12) == 0x0806 && frame.size() >= header + 28) {
        return text + fmt::format("\n  arp op {} {} {} > {} {}", get16(frame, header + 6),
                                  mac(frame, header + 8), address(frame, header + 14),
                                  mac(frame, header + 18), address(frame, header + 24));
    }
    if (frame.size() < header + 20) {
        return text + fmt::format("\n  {} bytes", frame.size() - header);
    }
    text += fmt::format("\n  ipv4 {} > {} proto {} length {} id {} ttl {} frag {:04x} check {:04x}",
                        address(frame, header + 12), address(frame, header + 16), frame[header + 9],
                        get16(frame, header + 2), get16(frame, header + 4), frame[header + 8],
                        get16(frame, header + 6), get16(frame, header + 10));
    const auto transport = header + static_cast<std::size_t>((frame[header] & 15) * 4);
    if (frame[header + 9] == 6 && frame.size() >= transport + 20) {
        text += fmt::format("\n  tcp {} > {} flags {:02x} sequence {} acknowledged {} check {:04x}",
                            get16(frame, transport), get16(frame, transport + 2),
                            frame[transport + 13], get32(frame, transport + 4),
                            get32(frame, transport + 8), get16(frame, transport + 16));
    } else if (frame[header + 9] == 1 && frame.size() >= transport + 8) {
        text += fmt::format("\n  icmp type {} code {} check {:04x} rest {:08x}, then",
                            frame[transport], frame[transport + 1], get16(frame, transport + 2),
                            get32(frame, transport + 4));
        for (auto byte = transport + 8; byte < frame.size(); byte++) {
            text += fmt::format(" {:02x}", frame[byte]);
        }
    } else if (frame[header + 9] == 17 && frame.size() >= transport + 8) {
        text += fmt::format("\n  udp {} > {} length {} check {:04x}", get16(frame, transport),
                            get16(frame, transport + 2), get16(frame, transport + 4),
                            get16(frame, transport + 6));
        if (get16(frame, transport + 2) == 4789 && frame.size() >= transport + 16) {
            text += fmt::format("\n  vxlan flags {:02x} vni {:06x}\n", frame[transport + 8],
                                get16(frame, transport + 12) << 8 | frame[transport + 14]);
            text += describe_at(frame, transport + 16);
        }
    }
    return text;
}

}  // namespace

std::string describe(const Bytes& frame) { return describe_at(frame, 0); }

}  // namespace culvert::packet
