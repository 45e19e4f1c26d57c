// SPDX-License-Identifier: Apache-2.0
// Notes between agents (abi/note.h): the ring in which the data plane puts those of other nodes,
// and the frame that one leaves in.
// Thread safety: strand-bound.
#pragma once

#include "base/result.hpp"
#include "datapath/loader.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace culvert::datapath {

class Notes {
  public:
    using Take = std::function<void(std::uint32_t node, std::span<const std::uint8_t> note)>;

    // What lies in the ring from before is forgotten. Errors: kInternal.
    static Result<std::unique_ptr<Notes>> open(const Datapath& datapath);
    virtual ~Notes() = default;

    virtual int fd() const = 0;  // readable when a note has come
    // Some hundreds of those that are there, at most; false: there are no more.
    virtual bool read(const Take& take) = 0;
};

// What to send to a node's VXLAN port.
std::vector<std::uint8_t> note_frame(std::span<const std::uint8_t> note);

}  // namespace culvert::datapath
