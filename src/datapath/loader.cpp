// SPDX-License-Identifier: Apache-2.0
#include "datapath/loader.hpp"

#include "base/log.hpp"
#include "datapath/bpffs.hpp"
#include "runtime/fd.hpp"
#include "runtime/files.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

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

// What libbpf last complained about: its return values are errno alone, and its print callback has
// no argument of ours.
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
    static constexpr std::array<Row, 11> kRows{{{"cv_nics", &MapSizes::nics},
                                                {"cv_links", &MapSizes::links},
                                                {"cv_flows", &MapSizes::flows},
                                                {"cv_slots", &MapSizes::flows},
                                                {"cv_free", &MapSizes::flows},
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

// What describes the flow table and starts anew with it: its slots, the timer that sweeps them, the
// counters that tell how many there are.
bool of_flows(std::string_view name) {
    return name == "cv_slots" || name == "cv_free" || name == "cv_sweep" || name == "cv_counters";
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

// A pinned configuration of another ABI version says that no pinned map can be trusted.
bool same_abi(const std::filesystem::path& pins) {
    const runtime::Fd config(bpf_obj_get((pins / "cv_config").c_str()));
    if (!config) {
        return true;
    }
    const std::uint32_t key = 0;
    cv_config value{};
    return bpf_map_lookup_elem(config.get(), &key, &value) == 0 &&
           (value.abi_version == 0 || value.abi_version == CV_ABI_VERSION);
}

template <typename Skeleton>
struct Destroy {
    void (*destroy)(Skeleton*);
    void operator()(Skeleton* skeleton) const { destroy(skeleton); }
};
using DatapathSkeleton = std::unique_ptr<::datapath, Destroy<::datapath>>;
using StubSkeleton = std::unique_ptr<::stub, Destroy<::stub>>;

class PinnedDatapath final : public Datapath {
  public:
    explicit PinnedDatapath(const LoadOptions& options)
        : pins_(options.pin_dir / fmt::format("v{}", CV_ABI_VERSION)),
          links_(options.pin_dir / kLinkDirectory),
          sizes_(options.sizes) {}

    Status load(const std::filesystem::path& pin_dir) {
        auto lock = prepare_pin_directory(pin_dir);
        if (!lock) {
            return std::unexpected(std::move(lock.error()));
        }
        lock_ = std::move(*lock);
        CULVERT_TRY_STATUS(runtime::make_directory(pins_, kPrivate));
        CULVERT_TRY_STATUS(runtime::make_directory(links_, kPrivate));
        programs_.reset(datapath__open());
        if (!programs_) {
            return std::unexpected(libbpf_error(errno, "open programs"));
        }
        stubs_.reset(stub__open());
        if (!stubs_) {
            return std::unexpected(libbpf_error(errno, "open stubs"));
        }
        keep_ = same_abi(pins_);
        CULVERT_TRY_STATUS(prepare(programs_->obj));
        CULVERT_TRY_STATUS(load_object(programs_->obj, "load programs"));
        CULVERT_TRY_STATUS(prepare(stubs_->obj));
        return load_object(stubs_->obj, "load stubs");
    }

    Status activate() override {
        CULVERT_TRY_STATUS(put_program(CV_PROG_FROM_WORKLOAD, "from_workload"));
        return put_program(CV_PROG_FROM_BACKBONE, "from_backbone");
    }

    int map(const char* name) const override {
        for (bpf_object* object : {programs_->obj, stubs_->obj}) {
            if (const bpf_map* found = bpf_object__find_map_by_name(object, name)) {
                return bpf_map__fd(found);
            }
        }
        return -1;
    }
    bool reused(const char* name) const override { return reused_.contains(name); }
    int stub_workload() const override { return program(stubs_->obj, "stub_workload"); }
    int stub_backbone() const override { return program(stubs_->obj, "stub_backbone"); }
    const std::filesystem::path& link_dir() const override { return links_; }
    const MapSizes& sizes() const override { return sizes_; }

  private:
    static int program(bpf_object* object, const char* name) {
        const bpf_program* found = bpf_object__find_program_by_name(object, name);
        return found == nullptr ? -1 : bpf_program__fd(found);
    }

    // Sizes, pins and what to take over, before the kernel sees anything.
    Status prepare(bpf_object* object) {
        bpf_program* each = nullptr;
        bpf_object__for_each_program(each, object) {
            // one value for all: the kernel compares it between a program array and its callers,
            // and kernels without tcx know no other
            bpf_program__set_expected_attach_type(each, static_cast<bpf_attach_type>(0));
        }
        bpf_map* map = nullptr;
        bpf_object__for_each_map(map, object) {
            if (bpf_map__is_internal(map)) {
                continue;
            }
            CULVERT_TRY_STATUS(prepare_map(map));
        }
        return {};
    }

    Status prepare_map(bpf_map* map) {
        const char* name = bpf_map__name(map);
        if (const auto* size = size_of(sizes_, name); size != nullptr) {
            if (const int error = bpf_map__set_max_entries(map, *size); error != 0) {
                return std::unexpected(libbpf_error(error, fmt::format("size map {}", name)));
            }
        }
        const auto path = pins_ / name;
        if (const int error = bpf_map__set_pin_path(map, path.c_str()); error != 0) {
            return std::unexpected(libbpf_error(error, fmt::format("pin map {}", name)));
        }
        const runtime::Fd pinned(bpf_obj_get(path.c_str()));
        if (!pinned) {
            return {};
        }
        // the program array outlives every layout: the stubs on the interfaces hold it
        const bool progs = std::string_view(name) == kProgs;
        const bool orphan = of_flows(name) && !flows_fit();
        if (fits(map, pinned.get()) && (progs || (keep_ && !orphan))) {
            reused_.insert(name);
            return {};
        }
        spdlog::warn("datapath: map {} has another layout or size, its content is dropped", name);
        std::error_code error;
        std::filesystem::remove(path, error);
        if (error) {
            return std::unexpected(
                error_from_errno(error.value(), fmt::format("replace map {}", name)));
        }
        return {};
    }

    bool flows_fit() {
        bpf_map* flows = bpf_object__find_map_by_name(programs_->obj, "cv_flows");
        if (flows == nullptr || reused_.contains("cv_flows")) {
            return flows != nullptr;
        }
        bpf_map__set_max_entries(flows, sizes_.flows);
        const runtime::Fd pinned(bpf_obj_get((pins_ / "cv_flows").c_str()));
        return pinned && fits(flows, pinned.get());
    }

    static Status load_object(bpf_object* object, std::string_view doing) {
        last_words.clear();
        if (const int error = bpf_object__load(object); error != 0) {
            return std::unexpected(libbpf_error(error, doing));
        }
        return {};
    }

    Status put_program(std::uint32_t slot, const char* name) {
        const int fd = program(programs_->obj, name);
        const int progs = map(kProgs);
        if (fd < 0 || progs < 0 || bpf_map_update_elem(progs, &slot, &fd, BPF_ANY) != 0) {
            return std::unexpected(error_from_errno(errno, fmt::format("activate {}", name)));
        }
        return {};
    }

    std::filesystem::path pins_;
    std::filesystem::path links_;
    MapSizes sizes_;
    runtime::Fd lock_;
    bool keep_ = true;
    std::set<std::string> reused_;
    DatapathSkeleton programs_{nullptr, {datapath__destroy}};
    StubSkeleton stubs_{nullptr, {stub__destroy}};
};

}  // namespace

Result<std::unique_ptr<Datapath>> Datapath::open(const LoadOptions& options) {
    libbpf_set_print(listen_to_libbpf);
    auto out = std::make_unique<PinnedDatapath>(options);
    if (auto loaded = out->load(options.pin_dir); !loaded) {
        return std::unexpected(prefixed(std::move(loaded.error()), "load data plane"));
    }
    return out;
}

Status remove_pins(const std::filesystem::path& pin_dir) { return remove_pin_directory(pin_dir); }

}  // namespace culvert::datapath
