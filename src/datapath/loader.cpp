// SPDX-License-Identifier: Apache-2.0
#include "datapath/loader.hpp"

#include "abi/totals.h"
#include "base/guarded.hpp"
#include "base/log.hpp"
#include "datapath/bpffs.hpp"
#include "datapath/layout.hpp"
#include "runtime/fd.hpp"
#include "runtime/files.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>
#include <string_view>
#include <utility>

#include "bpf/datapath.skel.h"
#include "bpf/stub.skel.h"

namespace culvert::datapath {
namespace {

constexpr const char* kProgs = "cv_progs";
constexpr mode_t kPrivate = 0700;
constexpr std::size_t kWordsBytes = 4096;
constexpr std::uint32_t kRehearsalEntries = 64;

// What libbpf last complained about: its print callback has no argument of ours.
// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables)
thread_local std::string last_words;

int listen_to_libbpf(enum libbpf_print_level level, const char* format, va_list arguments) {
    std::array<char, 1024> text{};
    const int length = std::vsnprintf(text.data(), text.size(), format, arguments);
    std::string_view line(text.data());
    while (!line.empty() && line.back() == '\n') {
        line.remove_suffix(1);
    }
    if (level == LIBBPF_WARN) {
        last_words = std::string(line);
    }
    spdlog::debug("datapath: {}", line);
    return length;
}

Error libbpf_error(int code, std::string_view doing) {
    Error out = error_from_errno(code < 0 ? -code : code, doing);
    if (!last_words.empty()) {
        out.message += fmt::format(" ({})", last_words.substr(0, kWordsBytes));
    }
    return out;
}

std::uint32_t* size_of(MapSizes& sizes, std::string_view name) {
    struct Row {
        std::string_view name;
        std::uint32_t MapSizes::* size;
    };
    static constexpr std::array<Row, 15> kRows{{{"cv_nics", &MapSizes::nics},
                                                {"cv_links", &MapSizes::links},
                                                {"cv_flows", &MapSizes::flows},
                                                {"cv_slots", &MapSizes::flows},
                                                {"cv_free", &MapSizes::flows},
                                                {"cv_charges", &MapSizes::flows},
                                                {"cv_accounts", &MapSizes::flows},
                                                {"cv_nic_held", &MapSizes::nics},
                                                {"cv_link_held", &MapSizes::links},
                                                {"cv_addresses", &MapSizes::addresses},
                                                {"cv_services", &MapSizes::services},
                                                {"cv_rules", &MapSizes::rules},
                                                {"cv_pools", &MapSizes::pools},
                                                {"cv_members", &MapSizes::members},
                                                {"cv_prefixes", &MapSizes::prefixes}}};
    for (const Row& row : kRows) {
        if (row.name == name) {
            return &(sizes.*row.size);
        }
    }
    return nullptr;
}

// The flow table and what describes it: kept together or made anew together.
constexpr std::array<const char*, 4> kFlowMaps{"cv_flows", "cv_slots", "cv_free", "cv_sweep"};
// Kept with the flow table; without one each account finds out that it is new.
constexpr std::string_view kAccounts = "cv_accounts";
// What its connections are charged to: kept with it when all of it fits and no build without quotas
// has let connections end meanwhile with their charges; else they are charged to nobody.
constexpr std::array<const char*, 4> kChargeMaps{"cv_charges", "cv_nic_held", "cv_link_held",
                                                 "cv_nat_held"};
template <std::size_t N>
bool among(const std::array<const char*, N>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

void set_options(::datapath& skeleton, const LoadOptions& options) {
    auto& constants = *skeleton.rodata;
    const auto& [pins, sizes, quotas, idle_unit] = options;
    constants.quota_table = sizes.flows;
    constants.quota_nic = constants.quota_link = share(sizes.flows, quotas.flows);
    constants.quota_opening_nic = constants.quota_opening_link = share(sizes.flows, quotas.opening);
    constants.quota_nat_256 = std::min(256u, quotas.nat * 256 / 100);
    constants.idle_unit_ns = static_cast<std::uint64_t>(idle_unit.count());
    constants.opening_ns = std::min(constants.opening_ns, 300 * constants.idle_unit_ns);
}
// Counts go on from one layout to the next.
bool counts(std::string_view name) {
    return name == "cv_drops" || name == "cv_counters" || name == "cv_totals";
}

// A pinned map that the new programs can use as it is.
bool fits(const bpf_map* map, int pinned) {
    bpf_map_info info{};
    std::uint32_t length = sizeof(info);
    return bpf_obj_get_info_by_fd(pinned, &info, &length) == 0 &&
           info.type == static_cast<std::uint32_t>(bpf_map__type(map)) &&
           info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
           info.max_entries == bpf_map__max_entries(map) &&
           info.map_flags == bpf_map__map_flags(map);
}

bool begins_with(int pinned, bpf_map_type type, std::uint32_t key_bytes,
                 std::uint32_t value_bytes) {
    bpf_map_info info{};
    std::uint32_t length = sizeof(info);
    return bpf_obj_get_info_by_fd(pinned, &info, &length) == 0 &&
           info.type == static_cast<std::uint32_t>(type) && info.key_size == key_bytes &&
           info.value_size >= value_bytes;
}

// The flows of another layout, as far as every version knows them (abi/maps.h).
struct Lent {
    LayoutName name;
    runtime::Fd flows;
    runtime::Fd slots;
    runtime::Fd accounts;  // none: that layout keeps none that this one understands

    static std::optional<Lent> from(const std::filesystem::path& pin_dir, const LayoutName& name) {
        const auto pins = pin_dir / name.str();
        Lent out{.name = name,
                 .flows = runtime::Fd(bpf_obj_get((pins / "cv_flows").c_str())),
                 .slots = runtime::Fd(bpf_obj_get((pins / "cv_slots").c_str())),
                 .accounts = runtime::Fd(bpf_obj_get((pins / kAccounts).c_str()))};
        if (out.accounts && !begins_with(out.accounts.get(), BPF_MAP_TYPE_ARRAY,
                                         sizeof(std::uint32_t), sizeof(cv_account))) {
            out.accounts = {};
        }
        const bool readable = out.flows && out.slots &&
                              begins_with(out.flows.get(), BPF_MAP_TYPE_HASH, sizeof(cv_flow_key),
                                          CV_FLOW_COMMON_BYTES) &&
                              begins_with(out.slots.get(), BPF_MAP_TYPE_ARRAY,
                                          sizeof(std::uint32_t), CV_SLOT_COMMON_BYTES);
        return readable ? std::optional(std::move(out)) : std::nullopt;
    }
};

// The configuration that is pinned there; all zeros where none was written, or none is.
cv_config pinned_config(const std::filesystem::path& pins) {
    const runtime::Fd config(bpf_obj_get((pins / "cv_config").c_str()));
    const std::uint32_t key = 0;
    cv_config out{};
    if (config && bpf_map_lookup_elem(config.get(), &key, &out) != 0) {
        out.abi_version = CV_ABI_VERSION + 1;
    }
    return out;
}

template <typename Skeleton>
struct Destroy {
    void (*destroy)(Skeleton*);
    void operator()(Skeleton* skeleton) const { destroy(skeleton); }
};
using DatapathSkeleton = std::unique_ptr<::datapath, Destroy<::datapath>>;
using StubSkeleton = std::unique_ptr<::stub, Destroy<::stub>>;

DatapathSkeleton open_programs() {
    DatapathSkeleton out{datapath__open(), {datapath__destroy}};
    return out;
}

Status load_object(bpf_object* object, std::string_view doing) {
    last_words.clear();
    if (const int error = bpf_object__load(object); error != 0) {
        return std::unexpected(libbpf_error(error, doing));
    }
    return {};
}

int program_fd(bpf_object* object, const char* name) {
    const bpf_program* found = bpf_object__find_program_by_name(object, name);
    return found == nullptr ? -1 : bpf_program__fd(found);
}

void fit_attach_type(bpf_object* object) {
    bpf_program* each = nullptr;
    bpf_object__for_each_program(each, object) {
        // one value for all: the kernel compares it between a program array and its callers, and
        // kernels without tcx know no other
        bpf_program__set_expected_attach_type(each, static_cast<bpf_attach_type>(0));
    }
}

void unload_programs(bpf_object* object) {
    bpf_program* each = nullptr;
    while ((each = bpf_object__next_program(object, each)) != nullptr) {
        bpf_program__unload(each);
    }
}

Status set_size(bpf_map* map, std::uint32_t entries) {
    if (const int error = bpf_map__set_max_entries(map, entries); error != 0) {
        return std::unexpected(libbpf_error(error, fmt::format("size map {}", bpf_map__name(map))));
    }
    return {};
}

Status reuse(bpf_map* map, int fd) {
    if (const int error = bpf_map__reuse_fd(map, fd); error != 0) {
        return std::unexpected(libbpf_error(error, "take over a map"));
    }
    return {};
}

// libbpf names a map that is lent after what it is: these are known by their place.
Status lend(::datapath& skeleton, const Lent& lent) {
    skeleton.rodata->with_other = true;
    CULVERT_TRY_STATUS(reuse(skeleton.maps.cv_flows_other, lent.flows.get()));
    if (lent.accounts) {
        skeleton.rodata->with_other_accounts = true;
        CULVERT_TRY_STATUS(reuse(skeleton.maps.cv_accounts_other, lent.accounts.get()));
    }
    return reuse(skeleton.maps.cv_slots_other, lent.slots.get());
}

bool is_lent(const ::datapath& skeleton, const bpf_map* map) {
    return map == skeleton.maps.cv_flows_other || map == skeleton.maps.cv_slots_other ||
           map == skeleton.maps.cv_accounts_other;
}

class PinnedDatapath final : public Datapath {
  public:
    explicit PinnedDatapath(const LoadOptions& options)
        : pin_dir_(options.pin_dir),
          own_{.version = CV_ABI_VERSION, .flow_limit = options.sizes.flows},
          pins_(options.pin_dir / own_.str()),
          stub_pins_(options.pin_dir / fmt::format("stubs{}", CV_STUB_VERSION)),
          links_(options.pin_dir / kLinkDirectory),
          options_(options) {}

    Status load() {
        auto lock = prepare_pin_directory(pin_dir_);
        if (!lock) {
            return std::unexpected(std::move(lock.error()));
        }
        lock_ = std::move(*lock);
        for (const auto& directory : {pins_, stub_pins_, links_}) {
            CULVERT_TRY_STATUS(runtime::make_directory(directory, kPrivate));
        }
        meet_layouts();
        auto programs = load_programs();
        if (!programs && lent_) {
            spdlog::error("datapath: the kernel refuses programs that serve layout {} too: {}",
                          lent_->name.str(), programs.error().message);
            abandon(lent_->name);
            lent_.reset();
            programs = load_programs();
        }
        if (!programs) {
            return std::unexpected(std::move(programs.error()));
        }
        programs_ = std::move(*programs);
        served_.with([&](std::optional<Lent>& served) { served = std::move(lent_); });
        lent_.reset();
        stubs_.reset(stub__open());
        if (!stubs_) {
            return std::unexpected(libbpf_error(errno, "open stubs"));
        }
        CULVERT_TRY_STATUS(prepare(stubs_->obj));
        return load_object(stubs_->obj, "load stubs");
    }

    Status activate() override {
        const auto since = std::chrono::steady_clock::now();
        CULVERT_TRY_STATUS(put_programs(programs_->obj));
        CULVERT_TRY_STATUS(name_active_layout(pin_dir_, own_));
        if (const auto other = draining_flows(); other && *other) {
            end_doubles(map("cv_flows"), other->get(), since);
        }
        return {};
    }

    LayoutFacts layout() const override {
        return {.version = own_.version, .flow_limit = own_.flow_limit, .flows = 0};
    }
    std::optional<LayoutFacts> draining() const override {
        return served_.with([](const std::optional<Lent>& lent) -> std::optional<LayoutFacts> {
            if (!lent) {
                return std::nullopt;
            }
            return LayoutFacts{.version = lent->name.version,
                               .flow_limit = lent->name.flow_limit,
                               .flows = count_entries(lent->flows.get()).value_or(0)};
        });
    }
    Result<runtime::Fd> draining_flows() const override {
        return served_.with([](const std::optional<Lent>& lent) -> Result<runtime::Fd> {
            if (!lent) {
                return runtime::Fd();
            }
            runtime::Fd out(::fcntl(lent->flows.get(), F_DUPFD_CLOEXEC, 0));
            return out ? Result<runtime::Fd>(std::move(out))
                       : std::unexpected(error_from_errno(errno, "the other layout's flows"));
        });
    }
    Status drain() override {
        const auto left = served_.with([](const std::optional<Lent>& lent) {
            return lent ? count_entries(lent->flows.get()) : Result<std::uint64_t>(1);
        });
        if (!left) {
            return std::unexpected(left.error());
        }
        return *left == 0 ? forget_lent() : Status();
    }

    int map(const char* name) const override {
        for (bpf_object* object : {programs_->obj, stubs_->obj}) {
            if (const bpf_map* found = find_map(*programs_, object, name)) {
                return bpf_map__fd(found);
            }
        }
        return -1;
    }
    bool reused(const char* name) const override { return reused_.contains(name); }
    int program(const char* name) const override {
        return program_fd(successor_ ? successor_->obj : programs_->obj, name);
    }
    int stub_workload() const override { return program_fd(stubs_->obj, "stub_workload"); }
    int stub_backbone() const override { return program_fd(stubs_->obj, "stub_backbone"); }
    int stub_services() const override { return program_fd(stubs_->obj, "stub_services"); }
    const std::filesystem::path& link_dir() const override { return links_; }
    const MapSizes& sizes() const override { return options_.sizes; }

  private:
    static const bpf_map* find_map(const ::datapath& skeleton, const bpf_object* object,
                                   std::string_view name) {
        bpf_map* each = nullptr;
        bpf_object__for_each_map(each, object) {
            if (bpf_map__name(each) == name && !is_lent(skeleton, each)) {
                return each;
            }
        }
        return nullptr;
    }

    // Which maps to go on with and whose flows to serve.
    void meet_layouts() {
        const auto active = active_layout(pin_dir_);
        const cv_config config = pinned_config(pins_);
        // of another ABI version it says that no pinned map can be trusted
        keep_flows_ = config.abi_version == 0 || config.abi_version == CV_ABI_VERSION;
        charged_ = config.charged != 0;
        // maps of a layout that was left describe the intent of that time
        keep_ = keep_flows_ && (!active || *active == own_);
        for (const LayoutName& each : pinned_layouts(pin_dir_)) {
            if (each == own_) {
                continue;
            }
            auto found = Lent::from(pin_dir_, each);
            const bool wanted = found && (!lent_ || each == active);
            if (wanted && lent_) {
                abandon(lent_->name);
            }
            if (wanted) {
                lent_ = std::move(found);
            } else {
                abandon(each);
            }
        }
    }

    // Removes a layout's maps, whatever flows are in them.
    void abandon(const LayoutName& layout) {
        const auto pins = pin_dir_ / layout.str();
        const runtime::Fd flows(bpf_obj_get((pins / "cv_flows").c_str()));
        const auto left = flows ? count_entries(flows.get()).value_or(0) : 0;
        if (left != 0) {
            spdlog::error("datapath: {} flows of layout {} end", left, layout.str());
        }
        std::error_code error;
        std::filesystem::remove_all(pins, error);
    }

    Result<DatapathSkeleton> load_programs() {
        DatapathSkeleton out = open_programs();
        if (!out) {
            return std::unexpected(libbpf_error(errno, "open programs"));
        }
        set_options(*out, options_);
        keep_flows_ = keep_flows_ && all_fit(*out, kFlowMaps);
        keep_charges_ = keep_flows_ && charged_ && all_fit(*out, kChargeMaps);
        if (lent_) {
            if (auto done = lend(*out, *lent_); !done) {
                return std::unexpected(std::move(done.error()));
            }
        }
        if (auto prepared = prepare(out->obj, out.get()); !prepared) {
            return std::unexpected(std::move(prepared.error()));
        }
        if (auto loaded = load_object(out->obj, "load programs"); !loaded) {
            return std::unexpected(std::move(loaded.error()));
        }
        return out;
    }

    // Sizes, pins and what to take over, before the kernel sees anything.
    Status prepare(bpf_object* object, const ::datapath* skeleton = nullptr) {
        fit_attach_type(object);
        bpf_map* map = nullptr;
        bpf_object__for_each_map(map, object) {
            if (bpf_map__is_internal(map) || (skeleton != nullptr && is_lent(*skeleton, map))) {
                continue;
            }
            CULVERT_TRY_STATUS(prepare_map(map));
        }
        return {};
    }

    Status prepare_map(bpf_map* map) {
        const char* name = bpf_map__name(map);
        if (const auto* size = size_of(options_.sizes, name); size != nullptr) {
            CULVERT_TRY_STATUS(set_size(map, *size));
        }
        // the program array outlives every layout: the stubs on the interfaces hold it
        const bool progs = std::string_view(name) == kProgs;
        const auto path = (progs ? stub_pins_ : pins_) / name;
        if (const int error = bpf_map__set_pin_path(map, path.c_str()); error != 0) {
            return std::unexpected(libbpf_error(error, fmt::format("pin map {}", name)));
        }
        const bool of_flows = among(kFlowMaps, name) || kAccounts == name;
        const bool of_charges = among(kChargeMaps, name);
        const bool kept = progs || (of_flows ? keep_flows_ : of_charges ? keep_charges_ : keep_);
        const runtime::Fd pinned(bpf_obj_get(path.c_str()));
        if (pinned && kept && fits(map, pinned.get())) {
            reused_.insert(name);
            return {};
        }
        if (pinned) {
            if (kept || of_flows) {
                spdlog::warn("datapath: map {} has another layout or size, its content is dropped",
                             name);
            }
            std::error_code error;
            std::filesystem::remove(path, error);
            if (error) {
                return std::unexpected(
                    error_from_errno(error.value(), fmt::format("replace map {}", name)));
            }
        }
        return counts(name) ? inherit(map, name) : Status();
    }

    Status inherit(bpf_map* map, const char* name) {
        if (!lent_) {
            return {};
        }
        const auto path = pin_dir_ / lent_->name.str() / name;
        const runtime::Fd pinned(bpf_obj_get(path.c_str()));
        return pinned && fits(map, pinned.get()) ? reuse(map, pinned.get()) : Status();
    }

    // Whether the pinned maps of these names are what these programs would make.
    template <std::size_t N>
    bool all_fit(const ::datapath& skeleton, const std::array<const char*, N>& names) {
        return std::all_of(names.begin(), names.end(), [&](const char* name) {
            auto* map = const_cast<bpf_map*>(find_map(skeleton, skeleton.obj, name));
            if (const auto* size = size_of(options_.sizes, name);
                map != nullptr && size != nullptr) {
                bpf_map__set_max_entries(map, *size);
            }
            const runtime::Fd pinned(bpf_obj_get((pins_ / name).c_str()));
            return map != nullptr && pinned && fits(map, pinned.get());
        });
    }

    // Programs without the other layout take over; the maps' descriptors stay those of `programs_`.
    Status forget_lent() {
        const auto reused_before = reused_;
        keep_ = true;
        keep_flows_ = true;
        charged_ = true;
        auto next = load_programs();
        reused_ = reused_before;
        if (next) {
            if (auto put = put_programs((*next)->obj); !put) {
                next = std::unexpected(std::move(put.error()));
            }
        }
        if (!next) {
            return std::unexpected(prefixed(std::move(next.error()), "leave the old layout"));
        }
        const auto lent = served_.with(
            [](std::optional<Lent>& served) { return std::exchange(served, std::nullopt); });
        unload_programs(programs_->obj);
        const auto replace = [](const bpf_map* old, const bpf_map* dummy) {
            static_cast<void>(::dup3(bpf_map__fd(dummy), bpf_map__fd(old), O_CLOEXEC));
        };
        replace(programs_->maps.cv_flows_other, (*next)->maps.cv_flows_other);
        replace(programs_->maps.cv_slots_other, (*next)->maps.cv_slots_other);
        replace(programs_->maps.cv_accounts_other, (*next)->maps.cv_accounts_other);
        successor_ = std::move(*next);
        spdlog::info("datapath: layout {} has drained", lent->name.str());
        abandon(lent->name);
        return {};
    }

    Status put_programs(bpf_object* programs) {
        CULVERT_TRY_STATUS(put_program(programs, CV_PROG_FROM_WORKLOAD, "from_workload"));
        CULVERT_TRY_STATUS(put_program(programs, CV_PROG_FROM_BACKBONE, "from_backbone"));
        return put_program(programs, CV_PROG_FROM_SERVICES, "from_services");
    }
    Status put_program(bpf_object* programs, std::uint32_t slot, const char* name) {
        const int fd = program_fd(programs, name);
        const int progs = map(kProgs);
        if (fd < 0 || progs < 0 || bpf_map_update_elem(progs, &slot, &fd, BPF_ANY) != 0) {
            return std::unexpected(error_from_errno(errno, fmt::format("activate {}", name)));
        }
        return {};
    }

    std::filesystem::path pin_dir_;
    LayoutName own_;
    std::filesystem::path pins_;
    std::filesystem::path stub_pins_;
    std::filesystem::path links_;
    LoadOptions options_;
    runtime::Fd lock_;
    bool keep_ = true;
    bool keep_flows_ = true;
    bool charged_ = true;  // by the programs that run, all the time
    bool keep_charges_ = true;
    std::optional<Lent> lent_;                     // what the programs to be loaded shall serve too
    mutable Guarded<std::optional<Lent>> served_;  // what those that run do
    std::set<std::string, std::less<>> reused_;
    DatapathSkeleton programs_{nullptr, {datapath__destroy}};
    DatapathSkeleton successor_{nullptr, {datapath__destroy}};  // what runs after drain()
    StubSkeleton stubs_{nullptr, {stub__destroy}};
};

}  // namespace

Result<std::unique_ptr<Datapath>> Datapath::open(const LoadOptions& options) {
    libbpf_set_print(listen_to_libbpf);
    auto out = std::make_unique<PinnedDatapath>(options);
    if (auto loaded = out->load(); !loaded) {
        return std::unexpected(prefixed(std::move(loaded.error()), "load data plane"));
    }
    return out;
}

std::uint32_t layout_version() { return CV_ABI_VERSION; }

Status rehearse(const LoadOptions& options) {
    libbpf_set_print(listen_to_libbpf);
    DatapathSkeleton programs = open_programs();
    if (!programs) {
        return std::unexpected(libbpf_error(errno, "open programs"));
    }
    fit_attach_type(programs->obj);
    const auto active = active_layout(options.pin_dir);
    const LayoutName own{.version = CV_ABI_VERSION, .flow_limit = options.sizes.flows};
    if (active && *active != own) {
        const auto lent = Lent::from(options.pin_dir, *active);
        if (!lent) {
            return fail(Code::kConflict,
                        fmt::format("flows of layout {} cannot be read", active->str()));
        }
        CULVERT_TRY_STATUS(lend(*programs, *lent));
    }
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, programs->obj) {
        MapSizes sizes;
        if (!is_lent(*programs, map) && size_of(sizes, bpf_map__name(map)) != nullptr) {
            CULVERT_TRY_STATUS(set_size(map, kRehearsalEntries));
        }
    }
    return load_object(programs->obj, "load programs");
}

Status remove_pins(const std::filesystem::path& pin_dir) { return remove_pin_directory(pin_dir); }

}  // namespace culvert::datapath
