// SPDX-License-Identifier: Apache-2.0
#include "datapath/totals.hpp"

#include "datapath/kernel_map.hpp"
#include "datapath/layout.hpp"
#include "datapath/program_run.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cstring>
#include <tuple>

namespace culvert::datapath {
namespace {

template <typename T>
T read_as(std::span<const std::uint8_t> bytes) {
    T out{};
    std::memcpy(&out, bytes.data(), std::min(sizeof(out), bytes.size()));
    return out;
}

class KernelTotals final : public Totals {
  public:
    explicit KernelTotals(const Datapath& datapath)
        : datapath_(datapath),
          totals_(datapath.map("cv_totals"), "cv_totals"),
          used_(datapath.map("cv_nat_used"), "cv_nat_used"),
          walk_(datapath.map("cv_walk"), "cv_walk") {}

    bool complete() const {
        return totals_.fd() >= 0 && used_.fd() >= 0 && walk_.fd() >= 0 &&
               datapath_.program("fold_flows") >= 0;
    }

    // The epoch lives and dies with the map: in the place of a link and a NIC that do not exist.
    Status begin(Random& random) {
        const cv_totals_key none{};
        cv_totals mark{};
        if (bpf_map_lookup_elem(totals_.fd(), &none, &mark) != 0) {
            mark.owner = random.u64() | 1;
            mark.generation = ~0u;  // no connection is counted here
            CULVERT_TRY_STATUS(totals_.put(none, mark));
        }
        epoch_ = mark.owner;
        round_ = static_cast<std::uint32_t>(random.u64());  // no other life of the agent had it
        return {};
    }

    std::uint64_t epoch() const override { return epoch_; }

    Status fold() override {
        cv_walk walk{};
        walk.round = ++round_;
        CULVERT_TRY_STATUS(walk_all(walk));
        walk = cv_walk{};
        walk.other = 1;
        walk.round = round_;
        return walk_all(walk);
    }

    Result<std::vector<TotalsEntry>> read() const override {
        std::vector<TotalsEntry> out;
        CULVERT_TRY_STATUS(visit_entries(totals_.fd(), [&](std::span<const std::uint8_t> key,
                                                           std::span<const std::uint8_t> value) {
            const auto name = read_as<cv_totals_key>(key);
            if (name.link != 0 || name.nic != 0) {
                out.push_back({name.link, name.nic, read_as<cv_totals>(value)});
            }
            return true;
        }));
        return out;
    }

    Result<std::vector<NatUse>> nat_use() const override {
        std::vector<NatUse> out;
        std::vector<cv_nat_used_key> old;
        CULVERT_TRY_STATUS(visit_entries(used_.fd(), [&](std::span<const std::uint8_t> key,
                                                         std::span<const std::uint8_t> value) {
            const auto name = read_as<cv_nat_used_key>(key);
            const auto used = read_as<cv_nat_used>(value);
            if (used.round != round_) {
                old.push_back(name);
                return true;
            }
            out.push_back({name.backend, net::Ipv4::from_be(name.nat),
                           static_cast<std::uint8_t>(name.proto), used.ports});
            return true;
        }));
        for (const cv_nat_used_key& each : old) {
            CULVERT_TRY_STATUS(used_.remove(each));
        }
        const auto order = [](const NatUse& use) {
            return std::tuple(use.address.value, use.backend, use.protocol);
        };
        std::ranges::sort(out, {}, order);
        return out;
    }

    Status remove(const TotalsEntry& entry) override {
        return totals_.remove({.link = entry.link, .nic = entry.nic});
    }

  private:
    Status walk_all(cv_walk walk) {
        do {
            CULVERT_TRY_STATUS(walk_.put(0, walk));
            CULVERT_TRY_STATUS(run_program(datapath_, "fold_flows"));
            const std::uint32_t zero = 0;
            if (bpf_map_lookup_elem(walk_.fd(), &zero, &walk) != 0) {
                return std::unexpected(error_from_errno(errno, "read cv_walk"));
            }
        } while (walk.hand < walk.high);
        return {};
    }

    const Datapath& datapath_;  // its programs change when another layout has drained
    KernelMap<cv_totals_key, cv_totals> totals_;
    KernelMap<cv_nat_used_key, cv_nat_used> used_;
    KernelMap<std::uint32_t, cv_walk> walk_;
    std::uint64_t epoch_ = 0;
    std::uint32_t round_ = 0;
};

}  // namespace

Result<std::unique_ptr<Totals>> Totals::open(const Datapath& datapath, Random& random) {
    auto out = std::make_unique<KernelTotals>(datapath);
    if (!out->complete()) {
        return fail(Code::kInternal, "load data plane: no programs that count what links carry");
    }
    CULVERT_TRY_STATUS(out->begin(random));
    return out;
}

}  // namespace culvert::datapath
