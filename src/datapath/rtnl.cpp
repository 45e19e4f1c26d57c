// SPDX-License-Identifier: Apache-2.0
#include "datapath/rtnl.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

namespace culvert::datapath::rtnl {
namespace {

constexpr int kOn = 1;
constexpr std::uint16_t kTypeMask = NLA_TYPE_MASK;

Bytes find(const std::uint8_t* data, std::size_t bytes, std::uint16_t type) {
    while (bytes >= sizeof(nlattr)) {
        nlattr head{};
        std::memcpy(&head, data, sizeof(head));
        if (head.nla_len < sizeof(head) || head.nla_len > bytes) {
            return {};
        }
        if ((head.nla_type & kTypeMask) == type) {
            return {data + NLA_HDRLEN, static_cast<std::size_t>(head.nla_len - NLA_HDRLEN)};
        }
        const std::size_t step = NLA_ALIGN(head.nla_len);
        if (step >= bytes) {
            return {};
        }
        data += step;
        bytes -= step;
    }
    return {};
}

// NLMSGERR_ATTR_MSG of an error message, where the kernel gave one.
std::string_view explanation(const nlmsghdr* message, const nlmsgerr* error) {
    if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0) {
        return {};
    }
    std::size_t skip = NLMSG_LENGTH(sizeof(nlmsgerr));
    if ((message->nlmsg_flags & NLM_F_CAPPED) == 0) {
        skip += NLMSG_ALIGN(error->msg.nlmsg_len) - sizeof(nlmsghdr);
    }
    if (skip >= message->nlmsg_len) {
        return {};
    }
    return as_text(find(reinterpret_cast<const std::uint8_t*>(message) + skip,
                        message->nlmsg_len - skip, NLMSGERR_ATTR_MSG));
}

}  // namespace

Message::Message(std::uint16_t type, std::uint16_t flags) {
    nlmsghdr head{};
    head.nlmsg_type = type;
    head.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
    header(head);
}

Message& Message::append(Bytes value) {
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    align();
    return *this;
}

void Message::align() { bytes_.resize(NLMSG_ALIGN(bytes_.size())); }

Message& Message::attribute(std::uint16_t type, Bytes value) {
    nlattr head{};
    head.nla_len = static_cast<std::uint16_t>(NLA_HDRLEN + value.size());
    head.nla_type = type;
    header(head);
    return append(value);
}

Message& Message::text(std::uint16_t type, std::string_view value) {
    std::vector<std::uint8_t> closed(value.begin(), value.end());
    closed.push_back(0);
    return attribute(type, closed);
}

Message& Message::u32(std::uint16_t type, std::uint32_t value) {
    return attribute(type, {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)});
}

std::size_t Message::begin(std::uint16_t type) {
    const std::size_t mark = bytes_.size();
    attribute(type, {});
    return mark;
}

Message& Message::end(std::size_t mark) {
    const auto length = static_cast<std::uint16_t>(bytes_.size() - mark);
    std::memcpy(bytes_.data() + mark, &length, sizeof(length));
    return *this;
}

std::span<const std::uint8_t> Message::finish(std::uint32_t sequence) {
    nlmsghdr head{};
    std::memcpy(&head, bytes_.data(), sizeof(head));
    head.nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
    head.nlmsg_seq = sequence;
    std::memcpy(bytes_.data(), &head, sizeof(head));
    return bytes_;
}

Bytes Answer::attribute(std::size_t header_bytes, std::uint16_t type) const {
    const std::size_t skip = NLMSG_LENGTH(NLMSG_ALIGN(header_bytes));
    if (message_->nlmsg_len <= skip) {
        return {};
    }
    return find(reinterpret_cast<const std::uint8_t*>(message_) + skip, message_->nlmsg_len - skip,
                type);
}

Bytes nested(Bytes container, std::uint16_t type) {
    return find(container.data(), container.size(), type);
}

std::uint32_t as_u32(Bytes value, std::uint32_t otherwise) {
    std::uint32_t out = otherwise;
    if (value.size() >= sizeof(out)) {
        std::memcpy(&out, value.data(), sizeof(out));
    }
    return out;
}

std::string_view as_text(Bytes value) {
    const std::string_view text(reinterpret_cast<const char*>(value.data()), value.size());
    return text.substr(0, text.find('\0'));
}

Result<Socket> Socket::open() {
    runtime::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!fd) {
        return std::unexpected(error_from_errno(errno, "open netlink socket"));
    }
    const timeval patience{.tv_sec = 5, .tv_usec = 0};
    if (::setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &kOn, sizeof(kOn)) != 0 ||
        ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0) {
        return std::unexpected(error_from_errno(errno, "open netlink socket"));
    }
    return Socket(std::move(fd));
}

Status Socket::exchange(Message& request, std::string_view doing,
                        const std::function<void(const Answer&)>& each) {
    const std::uint32_t sequence = ++sequence_;
    const auto bytes = request.finish(sequence);
    if (::send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) {
        return std::unexpected(error_from_errno(errno, doing));
    }
    return receive(sequence, doing, each);
}

Status Socket::receive(std::uint32_t sequence, std::string_view doing,
                       const std::function<void(const Answer&)>& each) {
    while (true) {
        const ssize_t got = ::recv(fd_.get(), buffer_.data(), buffer_.size(), 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return std::unexpected(error_from_errno(errno, doing));
        }
        auto left = static_cast<std::uint32_t>(got);
        for (auto* message = reinterpret_cast<nlmsghdr*>(buffer_.data()); NLMSG_OK(message, left);
             message = NLMSG_NEXT(message, left)) {
            if (message->nlmsg_seq != sequence) {
                continue;
            }
            if (message->nlmsg_type == NLMSG_DONE) {
                return {};
            }
            if (message->nlmsg_type != NLMSG_ERROR) {
                if (each) {
                    each(Answer(message));
                }
                continue;
            }
            const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(message));
            if (error->error == 0) {
                return {};
            }
            Error out = error_from_errno(-error->error, doing);
            if (const auto why = explanation(message, error); !why.empty()) {
                out.message += fmt::format(" ({})", why);
            }
            return std::unexpected(std::move(out));
        }
    }
}

}  // namespace culvert::datapath::rtnl
