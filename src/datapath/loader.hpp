// SPDX-License-Identifier: Apache-2.0
// Loads the programs, makes or takes over the pinned maps, swaps the program array.
// Thread safety: open(), activate() and drain() on one thread at a time; the rest from any.
//
// A change of the maps' layout (another ABI version, another size of the flow table) breaks no
// connection: the new layout's maps stand beside the old one's, its programs use the old flow
// entries where they are, and the old sweep goes on ending them in the kernel. When none is left
// drain() removes the old maps. Two layouts at most: a third one takes the place of that which is
// not active (docs/decisions/0007).
#pragma once

#include "abi/limits.h"
#include "abi/maps.h"
#include "base/result.hpp"
#include "runtime/fd.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace culvert::datapath {

// max_entries of the maps; 1 entry at least each.
struct MapSizes {
    std::uint32_t nics = CV_NICS_DEFAULT;
    std::uint32_t links = CV_LINKS_DEFAULT;
    std::uint32_t flows = CV_FLOWS_DEFAULT;
    std::uint32_t addresses = CV_ADDRESSES_DEFAULT;
    std::uint32_t services = CV_SERVICES_DEFAULT;
    std::uint32_t rules = CV_RULES_DEFAULT;
    std::uint32_t pools = CV_POOLS_DEFAULT;
    std::uint32_t members = CV_MEMBERS_DEFAULT;
    std::uint32_t prefixes = CV_PREFIXES_DEFAULT;
};

// What one holder may have of what all share, in percent; 100 and more: no quota (bpf/quota.h).
struct Quotas {
    std::uint32_t flows = CV_QUOTA_FLOWS_PERCENT;      // of the flow table: a NIC, a link
    std::uint32_t opening = CV_QUOTA_OPENING_PERCENT;  // the same, with an unfinished handshake
    std::uint32_t nat = CV_QUOTA_NAT_PERCENT;          // of a backend's NAT ports: a link
};

// The part of `whole` that is `percent` of it; all of it from 100 on.
inline std::uint32_t share(std::uint32_t whole, std::uint32_t percent) {
    return percent >= 100 ? whole
                          : static_cast<std::uint32_t>(std::uint64_t{whole} * percent / 100);
}

// Below the pin directory: links of interfaces, which no ABI version concerns.
inline constexpr const char* kLinkDirectory = "links";

// What a layout is called and how many flow entries it serves.
struct LayoutFacts {
    std::uint32_t version = 0;  // CV_ABI_VERSION
    std::uint32_t flow_limit = 0;
    std::uint64_t flows = 0;
};

struct LoadOptions {
    // On a bpffs; where it is not, one is mounted there (at /sys/fs/bpf for a path below it).
    std::filesystem::path pin_dir;
    MapSizes sizes;
    Quotas quotas;
    // what the rules' idle timeouts count as a second; another one is for tests. An opening takes
    // at most 300 of it
    std::chrono::nanoseconds idle_unit = std::chrono::seconds(1);
};

class Datapath {
  public:
    // Loads programs and maps; packets keep taking the old programs until activate(). A pinned map
    // of the same ABI version and size is taken over with its content, any other is made anew; flow
    // tables stay. One process a pin directory: a second one gets kConflict.
    // Errors: kPermissionDenied, kConflict, kInternal with the verifier's or libbpf's words.
    static Result<std::unique_ptr<Datapath>> open(const LoadOptions& options);
    virtual ~Datapath() = default;

    // Packets take the new programs from here on: one map update a program.
    virtual Status activate() = 0;

    // The layout that new connections take; `flows` is not filled in.
    virtual LayoutFacts layout() const = 0;
    // The other one while it serves flows. Counts them: costs time by their number.
    virtual std::optional<LayoutFacts> draining() const = 0;
    // Its flow table, a descriptor of the caller's own; none: there is no other layout. Entries are
    // as long as that layout makes them and begin with what every one knows (abi/maps.h).
    virtual Result<runtime::Fd> draining_flows() const = 0;
    // When the other layout serves no flow any more: takes programs that know nothing of it and
    // removes its maps. Counts, too.
    virtual Status drain() = 0;

    // Descriptor of a map; -1 when the programs have none of that name.
    virtual int map(const char* name) const = 0;
    // True when the map was taken over with its content.
    virtual bool reused(const char* name) const = 0;
    // Descriptor of a program that the agent runs by itself; -1 when there is none of that name.
    virtual int program(const char* name) const = 0;
    virtual int stub_workload() const = 0;  // program descriptors
    virtual int stub_backbone() const = 0;
    virtual int stub_services() const = 0;
    // Directory for pinned links; does not depend on the ABI version.
    virtual const std::filesystem::path& link_dir() const = 0;
    virtual const MapSizes& sizes() const = 0;
};

// The version of the layout that this build makes: CV_ABI_VERSION.
std::uint32_t layout_version();

// Whether the kernel takes this build's programs beside whatever is pinned there: loads them with
// small maps of their own and throws them away. Traffic is not touched. Errors: as open().
Status rehearse(const LoadOptions& options);

// Removes every pin below the directory, and the mount where open() made one. Interfaces first:
// a pinned link holds its program.
Status remove_pins(const std::filesystem::path& pin_dir);

}  // namespace culvert::datapath
