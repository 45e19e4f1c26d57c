// SPDX-License-Identifier: Apache-2.0
#include "cli/checks.hpp"
#include "cli/output.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <algorithm>

namespace culvert::cli {

Result<int> run_doctor(const Settings& settings, const DoctorOptions& options) {
    std::vector<Check> checks = kernel_checks();
    for (auto* more : {network_checks, neighbour_checks, machine_checks, installation_checks}) {
        for (auto& check : more(settings, options)) {
            checks.push_back(std::move(check));
        }
    }
    const auto count = [&checks](Verdict verdict) {
        return std::ranges::count(checks, verdict, &Check::verdict);
    };
    if (settings.json) {
        boost::json::array out;
        for (const auto& check : checks) {
            out.push_back({{"check", check.name},
                           {"result", to_string(check.verdict)},
                           {"found", check.found},
                           {"remedy", check.remedy}});
        }
        print_json(out);
        return count(Verdict::kFail) == 0 ? 0 : 1;
    }
    for (const auto& check : checks) {
        fmt::print("{:<5} {:<22} {}\n", to_string(check.verdict), check.name, check.found);
        if (check.verdict != Verdict::kOk && !check.remedy.empty()) {
            fmt::print("{:<28} to mend it: {}\n", "", check.remedy);
        }
    }
    fmt::print("\n{} ok, {} warn, {} fail\n", count(Verdict::kOk), count(Verdict::kWarn),
               count(Verdict::kFail));
    return count(Verdict::kFail) == 0 ? 0 : 1;
}

}  // namespace culvert::cli
