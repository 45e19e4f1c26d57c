// SPDX-License-Identifier: Apache-2.0
#include "datapath/transfer.hpp"

#include "abi/limits.h"
#include "abi/totals.h"
#include "abi/transfer.h"
#include "datapath/kernel_map.hpp"
#include "datapath/program_run.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace culvert::datapath {
namespace {

constexpr std::uint32_t kZero = 0;

FlowCopy copy_of(const cv_transfer& from) {
    return {.key = from.key,
            .flow = from.flow,
            .paired = from.paired != 0,
            .other_last_seen_ns = from.other_last_seen_ns,
            .other = {from.other_packets, from.other_bytes},
            .other_flags = from.other_flags};
}

// abi/totals.h: of an entry that both directions use.
Volume answers_in(const cv_flow& flow) {
    cv_count count{};
    static_assert(sizeof(count) <= sizeof(flow.other));
    std::memcpy(&count, &flow.other, sizeof(count));
    return {count.packets, count.bytes};
}

class KernelTransfer final : public Transfer {
  public:
    explicit KernelTransfer(const Datapath& datapath)
        : flows_(datapath.map("cv_flows"), "cv_flows"),
          entries_(datapath.map("cv_transfer"), "cv_transfer"),
          state_(datapath.map("cv_transfer_state"), "cv_transfer_state"),
          nics_(datapath.map("cv_transfer_nics"), "cv_transfer_nics"),
          datapath_(datapath) {}

    bool complete() const {
        return flows_.fd() >= 0 && entries_.fd() >= 0 && state_.fd() >= 0 && nics_.fd() >= 0 &&
               datapath_.program("copy_flows") >= 0 && datapath_.program("write_flows") >= 0;
    }

    Result<std::vector<FlowCopy>> copy(std::uint32_t nic) override {
        cv_transfer_state wanted{};
        wanted.nic = nic;
        return copy_of_both(wanted);
    }
    Result<std::vector<FlowCopy>> copy_nat(net::Ipv4 address) override {
        cv_transfer_state wanted{};
        wanted.nat = address.to_be();
        return copy_of_both(wanted);
    }

    Result<std::vector<FlowCopy>> copy_of_both(cv_transfer_state wanted) {
        std::vector<FlowCopy> out;
        CULVERT_TRY_STATUS(copy(wanted, out));
        wanted.other = 1;
        CULVERT_TRY_STATUS(copy(wanted, out));
        return out;
    }

    Status copy(cv_transfer_state state, std::vector<FlowCopy>& out) {
        do {
            CULVERT_TRY_STATUS(copy_some(state, out));
        } while (state.hand < state.high);
        return {};
    }

    Result<std::vector<FlowCopy>> step(FlowWalk& walk,
                                       std::span<const std::uint32_t> nics) override {
        cv_transfer_nics noted{};
        for (const std::uint32_t nic : nics) {
            noted.words[nic / 64 % CV_TRANSFER_WORDS] |= std::uint64_t{1} << nic % 64;
        }
        CULVERT_TRY_STATUS(nics_.put(0, noted));
        cv_transfer_state state{};
        state.nic = CV_TRANSFER_NOTED;
        state.hand = walk.hand;
        state.other = walk.other ? 1 : 0;
        std::vector<FlowCopy> out;
        CULVERT_TRY_STATUS(copy_some(state, out));
        walk.hand = state.hand;
        if (state.hand >= state.high) {
            walk.over = walk.other;
            walk.other = true;
            walk.hand = 0;
        }
        return out;
    }

    // What one run copies.
    Status copy_some(cv_transfer_state& state, std::vector<FlowCopy>& out) {
        CULVERT_TRY_STATUS(state_.put(0, state));
        CULVERT_TRY_STATUS(run_program(datapath_, "copy_flows"));
        CULVERT_TRY_STATUS(read_state(state));
        if (state.count > CV_TRANSFER_MAX) {
            return fail(Code::kInternal, "copy flows: more than there is room for");
        }
        if (state.count == 0) {
            return {};
        }
        const auto copies = entries_.array(CV_TRANSFER_MAX);
        if (!copies) {
            return std::unexpected(copies.error());
        }
        std::transform(copies->begin(), copies->begin() + state.count, std::back_inserter(out),
                       copy_of);
        return {};
    }

    Result<FlowCopy> find(const cv_flow_key& key) override {
        FlowCopy out;
        out.key = key;
        if (!read(key, out.flow) || (out.flow.flags & CV_FLOW_PRIMARY) == 0) {
            return fail(Code::kNotFound, "no such flow");
        }
        cv_flow other{};
        if ((out.flow.flags & CV_FLOW_PAIRED) == 0) {
            out.other = answers_in(out.flow);
        } else if (read(out.flow.other, other)) {
            out.paired = true;
            out.other_last_seen_ns = other.last_seen_ns;
            out.other = {other.packets, other.bytes};
            out.other_flags = other.flags;
        }
        return out;
    }

    bool has(const cv_flow_key& key) override {
        cv_flow flow{};
        return read(key, flow);
    }

    Status write(const FlowWrites& writes) override {
        std::vector<cv_transfer> batch;
        for (const FlowEntry& entry : writes.put) {
            cv_transfer out{};
            out.key = entry.key;
            out.flow = entry.flow;
            if ((entry.flow.flags & CV_FLOW_PAIRED) == 0) {
                const cv_count answers{entry.answers.packets, entry.answers.bytes};
                std::memcpy(&out.flow.other, &answers, sizeof(answers));
            }
            out.other_packets = entry.answers.packets;
            out.other_bytes = entry.answers.bytes;
            batch.push_back(out);
            CULVERT_TRY_STATUS(flush_full(batch));
        }
        for (const cv_flow_key& key : writes.remove) {
            cv_transfer out{};
            out.key = key;
            out.remove = 1;
            batch.push_back(out);
            CULVERT_TRY_STATUS(flush_full(batch));
        }
        return flush(batch);
    }

  private:
    bool read(const cv_flow_key& key, cv_flow& into) const {
        return bpf_map_lookup_elem(flows_.fd(), &key, &into) == 0;
    }

    Status read_state(cv_transfer_state& into) const {
        if (bpf_map_lookup_elem(state_.fd(), &kZero, &into) != 0) {
            return std::unexpected(error_from_errno(errno, "read cv_transfer_state"));
        }
        return {};
    }

    Status flush_full(std::vector<cv_transfer>& batch) {
        return batch.size() < CV_TRANSFER_MAX ? Status() : flush(batch);
    }

    Status flush(std::vector<cv_transfer>& batch) {
        if (batch.empty()) {
            return {};
        }
        std::array<std::uint32_t, CV_TRANSFER_MAX> places{};
        for (std::uint32_t at = 0; at < places.size(); ++at) {
            places[at] = at;
        }
        auto count = static_cast<std::uint32_t>(batch.size());
        if (bpf_map_update_batch(entries_.fd(), places.data(), batch.data(), &count, nullptr) !=
            0) {
            return std::unexpected(error_from_errno(errno, "fill cv_transfer"));
        }
        cv_transfer_state state{};
        state.high = static_cast<std::uint32_t>(batch.size());
        CULVERT_TRY_STATUS(state_.put(0, state));
        CULVERT_TRY_STATUS(run_program(datapath_, "write_flows"));
        CULVERT_TRY_STATUS(read_state(state));
        if (state.count != batch.size()) {
            return fail(Code::kTooLarge, "write flows: the flow table is full");
        }
        batch.clear();
        return {};
    }

    KernelMap<cv_flow_key, cv_flow> flows_;
    KernelMap<std::uint32_t, cv_transfer> entries_;
    KernelMap<std::uint32_t, cv_transfer_state> state_;
    KernelMap<std::uint32_t, cv_transfer_nics> nics_;
    const Datapath& datapath_;  // its programs change when another layout has drained
};

}  // namespace

Result<std::unique_ptr<Transfer>> Transfer::open(const Datapath& datapath) {
    auto out = std::make_unique<KernelTransfer>(datapath);
    if (!out->complete()) {
        return fail(Code::kInternal, "load data plane: no programs that move flows");
    }
    return out;
}

}  // namespace culvert::datapath
