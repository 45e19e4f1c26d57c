// SPDX-License-Identifier: Apache-2.0
#include "agent/move_records.hpp"

#include "agent/migrate.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "runtime/files.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>

namespace culvert::agent {
namespace {

constexpr mode_t kPrivate = 0600;
constexpr mode_t kPrivateFolder = 0700;
constexpr std::size_t kFlowBytes = 256;  // more than one takes

std::optional<std::uint32_t> number_in(const std::string& name) {
    std::uint32_t out = 0;
    const auto read = std::from_chars(name.data(), name.data() + name.size(), out);
    return read.ec == std::errc() && read.ptr == name.data() + name.size() ? std::optional(out)
                                                                           : std::nullopt;
}

}  // namespace

std::filesystem::path MoveRecords::file_of(std::uint32_t nic) const {
    return folder_ / std::to_string(nic);
}

Status MoveRecords::keep(std::uint32_t nic, const std::string& attachment,
                         const std::vector<Connection>& turned) const {
    if (turned.empty()) {
        drop(nic);
        return {};
    }
    api::MoveFlows out;
    out.set_nic(nic);
    out.set_attachment(attachment);
    for (const Connection& connection : turned) {
        *out.add_flows() = to_wire(connection);
    }
    CULVERT_TRY_STATUS(runtime::make_directory(folder_, kPrivateFolder));
    return runtime::replace_file(file_of(nic), out.SerializeAsString(), kPrivate,
                                 runtime::Outlives::kProcess);
}

std::vector<Connection> MoveRecords::read(std::uint32_t nic, const std::string& attachment) const {
    std::vector<Connection> out;
    const auto content = runtime::read_file(file_of(nic), limits::kMovedFlows * kFlowBytes);
    if (!content) {
        if (content.error().code != Code::kNotFound) {
            spdlog::error("agent: move of nic={}: {}", nic, content.error().message);
        }
        return out;
    }
    api::MoveFlows kept;
    if (!kept.ParseFromString(*content) || kept.nic() != nic || kept.attachment() != attachment) {
        return out;  // of an earlier move
    }
    for (const auto& flow : kept.flows()) {
        if (const auto connection = from_wire(flow)) {
            out.push_back(*connection);
        }
    }
    return out;
}

void MoveRecords::drop(std::uint32_t nic) const {
    std::error_code error;
    std::filesystem::remove(file_of(nic), error);
    if (error) {
        spdlog::warn("agent: forget the move of nic={}: {}", nic, error.message());
    }
}

void MoveRecords::retain(const std::function<bool(std::uint32_t nic)>& wanted) const {
    std::vector<std::filesystem::path> gone;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
        const auto nic = number_in(entry.path().filename().string());
        if (!nic || !wanted(*nic)) {
            gone.push_back(entry.path());
        }
    }
    for (const auto& path : gone) {
        std::filesystem::remove(path, error);
    }
}

}  // namespace culvert::agent
