// SPDX-License-Identifier: Apache-2.0
#include "agent/migrate.hpp"

namespace culvert::agent {
namespace {

constexpr std::uint32_t kPortMax = 65535;
constexpr std::uint32_t kFlags =
    CV_FLOW_OPEN | CV_FLOW_SEEN_REPLY | CV_FLOW_FIN_FORWARD | CV_FLOW_FIN_REPLY | CV_FLOW_RST;
constexpr std::uint64_t kLongestNs = std::uint64_t{1} << 62;

void set_end(api::MovedEnd* out, const End& end, const Endpoint& at) {
    out->set_nic(end.nic);
    out->set_generation(end.generation);
    out->set_address(at.address.value);
    out->set_port(at.port);
}

}  // namespace

api::MovedFlow to_wire(const Connection& connection) {
    api::MovedFlow out;
    out.set_link(connection.link);
    out.set_link_generation(connection.link_generation);
    out.set_protocol(connection.protocol);
    set_end(out.mutable_consumer(), connection.consumer, connection.from);
    set_end(out.mutable_backend(), connection.backend, connection.serving);
    out.set_endpoint(connection.to.address.value);
    out.set_endpoint_port(connection.to.port);
    out.set_nat(connection.nat.address.value);
    out.set_nat_port(connection.nat.port);
    out.set_flags(connection.flags);
    out.set_age_ns(static_cast<std::uint64_t>(connection.age.count()));
    out.set_idle_ns(static_cast<std::uint64_t>(connection.idle.count()));
    out.set_packets(connection.forward.packets);
    out.set_bytes(connection.forward.bytes);
    out.set_packets_back(connection.back.packets);
    out.set_bytes_back(connection.back.bytes);
    return out;
}

Result<Connection> from_wire(const api::MovedFlow& flow) {
    const bool ports = flow.consumer().port() <= kPortMax && flow.backend().port() <= kPortMax &&
                       flow.endpoint_port() <= kPortMax && flow.nat_port() <= kPortMax;
    if (!ports || flow.protocol() > 255 || (flow.flags() & ~kFlags) != 0 ||
        flow.age_ns() > kLongestNs || flow.idle_ns() > kLongestNs ||
        (flow.nat_port() == 0) != (flow.backend().port() == 0)) {
        return fail(Code::kInvalidArgument, "a flow that cannot be");
    }
    const auto at = [](std::uint32_t address, std::uint32_t port) {
        return Endpoint{net::Ipv4{address}, static_cast<std::uint16_t>(port)};
    };
    return Connection{.link = flow.link(),
                      .link_generation = flow.link_generation(),
                      .protocol = static_cast<std::uint8_t>(flow.protocol()),
                      .consumer = {flow.consumer().nic(), flow.consumer().generation()},
                      .backend = {flow.backend().nic(), flow.backend().generation()},
                      .from = at(flow.consumer().address(), flow.consumer().port()),
                      .to = at(flow.endpoint(), flow.endpoint_port()),
                      .nat = at(flow.nat(), flow.nat_port()),
                      .serving = at(flow.backend().address(), flow.backend().port()),
                      .idle_s = 0,  // the receiver's own rule says
                      .tell = false,
                      .flags = flow.flags(),
                      .age = std::chrono::nanoseconds(flow.age_ns()),
                      .idle = std::chrono::nanoseconds(flow.idle_ns()),
                      .forward = {flow.packets(), flow.bytes()},
                      .back = {flow.packets_back(), flow.bytes_back()}};
}

}  // namespace culvert::agent
