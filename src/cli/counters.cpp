// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.hpp"
#include "cli/local.hpp"
#include "cli/output.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <boost/json.hpp>

#include <chrono>
#include <cstdio>
#include <map>
#include <thread>

namespace culvert::cli {
namespace {

namespace json = boost::json;

using Values = std::vector<CounterValue>;

json::array to_json(const Values& values) {
    json::array out;
    for (const auto& value : values) {
        json::object row{
            {"name", value.name}, {"value", value.value}, {"sentence", value.sentence}};
        if (!value.severity.empty()) {
            row["severity"] = value.severity;
        }
        out.push_back(std::move(row));
    }
    return out;
}

// `before`: the last reading by name; its differences are the column "LAST".
void print_values(const Values& values, const CounterOptions& options,
                  const std::map<std::string, std::uint64_t>* before, bool drops) {
    std::vector<Row> rows;
    for (const auto& value : values) {
        if (value.value == 0 && !options.all) {
            continue;
        }
        Row row = {value.name, grouped(value.value)};
        if (before != nullptr) {
            const auto last = before->find(value.name);
            row.push_back("+" + grouped(value.value - (last == before->end() ? 0 : last->second)));
        }
        if (drops) {
            row.push_back(value.severity);
        }
        row.push_back(value.sentence);
        rows.push_back(std::move(row));
    }
    Row header = {drops ? "REASON" : "COUNTER", "PACKETS"};
    if (before != nullptr) {
        header.push_back("LAST");
    }
    if (drops) {
        header.push_back("SEVERITY");
    }
    header.push_back("MEANING");
    if (rows.empty()) {
        fmt::print("{}\n", drops ? "nothing was dropped" : "nothing was counted");
    } else {
        print_table(header, rows);
    }
}

Result<int> show(const Settings& settings, const CounterOptions& options, bool drops) {
    auto agent = connect_agent(agent_socket(settings.data_dir));
    if (!agent) {
        return std::unexpected(agent.error());
    }
    std::map<std::string, std::uint64_t> before;
    for (bool first = true;; first = false) {
        auto set = (*agent)->counters();
        if (!set) {
            return std::unexpected(set.error());
        }
        const auto& values = drops ? set->drops : set->counters;
        if (settings.json) {
            const json::value out = to_json(values);
            if (options.watch) {
                fmt::print("{}\n", json::serialize(out));  // one value a line
            } else {
                print_json(out);
            }
        } else {
            if (options.watch && ::isatty(STDOUT_FILENO) == 1) {
                fmt::print("\033[H\033[2J");
            }
            print_values(values, options, options.watch && !first ? &before : nullptr, drops);
        }
        std::fflush(stdout);
        if (!options.watch || std::ferror(stdout) != 0) {
            return 0;
        }
        for (const auto& value : values) {
            before[value.name] = value.value;
        }
        std::this_thread::sleep_for(std::chrono::duration<double>(options.interval));
    }
}

}  // namespace

Result<int> run_drops(const Settings& settings, const CounterOptions& options) {
    return show(settings, options, true);
}

Result<int> run_counters(const Settings& settings, const CounterOptions& options) {
    return show(settings, options, false);
}

}  // namespace culvert::cli
