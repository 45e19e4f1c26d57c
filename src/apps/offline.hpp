// SPDX-License-Identifier: Apache-2.0
// What culvertd does without serving: make its data from a backup, look the store over.
#pragma once

#include "control/backup.hpp"
#include "control/identity.hpp"
#include "control/verifier.hpp"
#include "store/store.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace culvert {

struct RestoreFlags {
    std::string from;
    std::optional<std::int64_t> revision;
    std::string time;
    bool force = false;
    bool json = false;
};

inline void declare_offline(CLI::App& app, RestoreFlags& restore) {
    app.require_subcommand(0, 1);
    auto& back = *app.add_subcommand("restore", "make the data directory from a backup, and end");
    back.add_option("--from", restore.from, "the backup")->required();
    auto* revision = back.add_option("--to-revision", restore.revision,
                                     "the state as of this revision (default: the backup's)");
    back.add_option("--to-time", restore.time, "the state as of this time, 2026-11-26T10:00:00Z")
        ->excludes(revision);
    back.add_flag("--force", restore.force, "replace a store that is there; it is kept beside");
    auto& verify =
        *app.add_subcommand("verify", "check the store, and end: 1 when it finds faults");
    for (CLI::App* each : {&back, &verify}) {
        each->fallthrough();
        each->add_flag("--json", restore.json, "answer as JSON");
    }
}

inline Result<int> run_restore(const std::filesystem::path& data_dir, const RestoreFlags& asked) {
    control::RestoreRequest request{asked.from, data_dir, {asked.revision, {}}, asked.force};
    if (!asked.time.empty()) {
        auto time = control::parse_rfc3339(asked.time);
        if (!time) {
            return std::unexpected(prefixed(std::move(time.error()), "--to-time"));
        }
        request.point.time = *time;
    }
    const SystemClock clock;
    SystemRandom random;
    const auto done = control::restore_backup(request, clock, random);
    if (!done) {
        return std::unexpected(done.error());
    }
    if (asked.json) {
        const boost::json::object out{{"shown", done->shown},
                                      {"revision", done->revision},
                                      {"epoch", done->epoch},
                                      {"replaced", done->replaced.string()}};
        fmt::print("{}\n", boost::json::serialize(out));
        return 0;
    }
    fmt::print("restored the state as of revision {} into {}; it goes on at revision {}\n",
               done->shown, data_dir.string(), done->revision);
    if (!done->replaced.empty()) {
        fmt::print("the former store is {}\n", done->replaced.string());
    }
    return 0;
}

inline Result<int> run_verify(const std::filesystem::path& data_dir, bool as_json) {
    const auto path = data_dir / "store.db";
    if (!std::filesystem::exists(path)) {  // opening would make one
        return fail(Code::kNotFound, fmt::format("verify: there is no {}", path.string()));
    }
    auto store = store::open_sqlite(path.string());
    auto verdict =
        store ? control::verify(**store) : Result<control::Verdict>(std::unexpected(store.error()));
    if (!verdict) {
        return std::unexpected(verdict.error());
    }
    if (as_json) {
        fmt::print("{}\n", boost::json::serialize(control::show(*verdict)));
    } else {
        for (const auto& finding : verdict->findings) {
            fmt::print("{}: {}\n", finding.key, finding.message);
        }
        fmt::print("revision {}: {} keys, {} resources, {} findings\n", verdict->revision,
                   verdict->keys, verdict->resources, verdict->findings.size());
    }
    return verdict->findings.empty() ? 0 : 1;
}

}  // namespace culvert
