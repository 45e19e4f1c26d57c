// SPDX-License-Identifier: Apache-2.0
// One rtnetlink exchange (RFC 3549): a request built attribute by attribute, its answers, the
// kernel's own words on failure. Used by netlink.cpp only.
#pragma once

#include "base/result.hpp"
#include "runtime/fd.hpp"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace culvert::datapath::rtnl {

using Bytes = std::span<const std::uint8_t>;

class Message {
  public:
    Message(std::uint16_t type, std::uint16_t flags);

    // Appends the family header (ifinfomsg, ifaddrmsg, rtmsg), or any fixed struct.
    template <typename T>
    Message& header(const T& value) {
        return append({reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)});
    }
    Message& attribute(std::uint16_t type, Bytes value);
    Message& text(std::uint16_t type, std::string_view value);  // with the closing zero
    Message& u32(std::uint16_t type, std::uint32_t value);
    // Opens a nested attribute; end() with what it returned closes it.
    std::size_t begin(std::uint16_t type);
    Message& end(std::size_t mark);

    // The finished request, with its length and this sequence number.
    std::span<const std::uint8_t> finish(std::uint32_t sequence);

  private:
    Message& append(Bytes value);
    void align();

    std::vector<std::uint8_t> bytes_;
};

// One answer: its fixed header and its attributes.
class Answer {
  public:
    explicit Answer(const nlmsghdr* message) : message_(message) {}
    std::uint16_t type() const { return message_->nlmsg_type; }
    // The fixed header, or null when the message is shorter.
    template <typename T>
    const T* header() const {
        return message_->nlmsg_len < NLMSG_LENGTH(sizeof(T))
                   ? nullptr
                   : static_cast<const T*>(NLMSG_DATA(message_));
    }
    // The value of an attribute after a fixed header of `header_bytes`; empty when absent.
    Bytes attribute(std::size_t header_bytes, std::uint16_t type) const;

  private:
    const nlmsghdr* message_;
};

// The value of an attribute nested in `container`; empty when absent.
Bytes nested(Bytes container, std::uint16_t type);
std::uint32_t as_u32(Bytes value, std::uint32_t otherwise = 0);
std::string_view as_text(Bytes value);

// Thread safety: strand-bound. The socket belongs to the namespace it was opened in.
class Socket {
  public:
    static Result<Socket> open();

    // Sends the request and gives each answer to `each` until the acknowledgement. Errors: the
    // kernel's errno with its extended message, prefixed by `doing`.
    Status exchange(Message& request, std::string_view doing,
                    const std::function<void(const Answer&)>& each = {});

    int fd() const { return fd_.get(); }

  private:
    explicit Socket(runtime::Fd fd) : fd_(std::move(fd)) {}
    Status receive(std::uint32_t sequence, std::string_view doing,
                   const std::function<void(const Answer&)>& each);

    runtime::Fd fd_;
    std::uint32_t sequence_ = 0;
    std::vector<std::uint8_t> buffer_ = std::vector<std::uint8_t>(64 * 1024);
};

}  // namespace culvert::datapath::rtnl
