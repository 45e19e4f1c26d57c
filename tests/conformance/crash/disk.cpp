// SPDX-License-Identifier: Apache-2.0
#include "disk.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace culvert::store::test {
namespace {

constexpr std::size_t kSector = 512;

// An open file: SQLite allocates szOsFile bytes, the real file system's own part follows ours.
struct File {
    sqlite3_file base;
    Disk* disk;
    Blocks* blocks;   // kept alive by `keep`
    BlocksPtr* keep;  // nullptr: not one of ours (temporary)
    bool database;

    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

File& of(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
Disk& of(sqlite3_vfs* vfs) { return *static_cast<Disk*>(vfs->pAppData); }
Disk::Where where(const File& file) {
    return file.database ? Disk::Where::kDatabase : Disk::Where::kAnywhere;
}

void apply(std::string& bytes, const Blocks::Write& write) {
    if (write.truncate) {
        bytes.resize(std::min(bytes.size(), write.at));
        return;
    }
    if (bytes.size() < write.at + write.bytes.size()) {
        bytes.resize(write.at + write.bytes.size());
    }
    std::memcpy(bytes.data() + write.at, write.bytes.data(), write.bytes.size());
}

int on_close(sqlite3_file* file) {
    File& f = of(file);
    const int done = f.real()->pMethods->xClose(f.real());
    delete f.keep;
    f.keep = nullptr;
    return done;
}

int on_read(sqlite3_file* file, void* out, int size, sqlite3_int64 at) {
    File& f = of(file);
    return f.disk->failed() ? SQLITE_IOERR_READ
                            : f.real()->pMethods->xRead(f.real(), out, size, at);
}

int on_write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 at) {
    File& f = of(file);
    return f.disk->state().with([&](Disk::State& state) {
        Blocks::Write write{
            static_cast<std::size_t>(at),
            std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(size)), false};
        if (f.keep == nullptr) {
            return f.real()->pMethods->xWrite(f.real(), bytes, size, at);
        }
        if (state.full && !state.failed) {
            return SQLITE_FULL;
        }
        const bool before = state.failed;
        if (const int failed = Disk::operate(state, where(f)); failed != SQLITE_OK) {
            if (!before) {  // the write that power failed in may be there, or half of it
                f.blocks->pending.push_back(std::move(write));
            }
            return SQLITE_IOERR_WRITE;
        }
        f.blocks->pending.push_back(std::move(write));
        return f.real()->pMethods->xWrite(f.real(), bytes, size, at);
    });
}

int on_truncate(sqlite3_file* file, sqlite3_int64 size) {
    File& f = of(file);
    return f.disk->state().with([&](Disk::State& state) {
        if (f.keep != nullptr) {
            if (Disk::operate(state, where(f)) != SQLITE_OK) {
                return SQLITE_IOERR_TRUNCATE;
            }
            f.blocks->pending.push_back({static_cast<std::size_t>(size), {}, true});
        }
        return f.real()->pMethods->xTruncate(f.real(), size);
    });
}

int on_sync(sqlite3_file* file, int flags) {
    File& f = of(file);
    if (f.keep == nullptr) {
        return f.real()->pMethods->xSync(f.real(), flags);
    }
    const int counted = f.disk->state().with([&](Disk::State& state) {
        if (Disk::operate(state, where(f)) != SQLITE_OK) {
            return SQLITE_IOERR_FSYNC;
        }
        ++state.syncs;
        if (state.failing_syncs > 0) {
            --state.failing_syncs;
            // the kernel forgets which pages it could not write: they are clean, and not there
            f.blocks->pending.clear();
            return SQLITE_IOERR_FSYNC;
        }
        for (const Blocks::Write& write : f.blocks->pending) {
            apply(f.blocks->durable, write);
        }
        f.blocks->pending.clear();
        return SQLITE_OK;
    });
    // the real one syncs the directory of a file that it has made: on_open_directory() sees that
    return counted != SQLITE_OK ? counted : f.real()->pMethods->xSync(f.real(), flags);
}

int on_size(sqlite3_file* file, sqlite3_int64* size) {
    return of(file).real()->pMethods->xFileSize(of(file).real(), size);
}
int on_lock(sqlite3_file* file, int level) {
    return of(file).real()->pMethods->xLock(of(file).real(), level);
}
int on_unlock(sqlite3_file* file, int level) {
    return of(file).real()->pMethods->xUnlock(of(file).real(), level);
}
int on_check_lock(sqlite3_file* file, int* out) {
    return of(file).real()->pMethods->xCheckReservedLock(of(file).real(), out);
}
int on_control(sqlite3_file* file, int what, void* argument) {
    // a size hint would allocate behind our back
    return what == SQLITE_FCNTL_SIZE_HINT || what == SQLITE_FCNTL_CHUNK_SIZE
               ? SQLITE_OK
               : of(file).real()->pMethods->xFileControl(of(file).real(), what, argument);
}
int on_sector(sqlite3_file* file) {
    return of(file).real()->pMethods->xSectorSize(of(file).real());
}
int on_traits(sqlite3_file* file) {
    return of(file).real()->pMethods->xDeviceCharacteristics(of(file).real());
}
int on_shm_map(sqlite3_file* file, int page, int size, int extend, void volatile** out) {
    return of(file).real()->pMethods->xShmMap(of(file).real(), page, size, extend, out);
}
int on_shm_lock(sqlite3_file* file, int offset, int n, int flags) {
    return of(file).real()->pMethods->xShmLock(of(file).real(), offset, n, flags);
}
void on_shm_barrier(sqlite3_file* file) { of(file).real()->pMethods->xShmBarrier(of(file).real()); }
int on_shm_unmap(sqlite3_file* file, int remove) {
    return of(file).real()->pMethods->xShmUnmap(of(file).real(), remove);
}

const sqlite3_io_methods& methods() {
    static const sqlite3_io_methods all = [] {
        sqlite3_io_methods m{};
        m.iVersion = 2;  // no memory-mapped reads
        m.xClose = on_close;
        m.xRead = on_read;
        m.xWrite = on_write;
        m.xTruncate = on_truncate;
        m.xSync = on_sync;
        m.xFileSize = on_size;
        m.xLock = on_lock;
        m.xUnlock = on_unlock;
        m.xCheckReservedLock = on_check_lock;
        m.xFileControl = on_control;
        m.xSectorSize = on_sector;
        m.xDeviceCharacteristics = on_traits;
        m.xShmMap = on_shm_map;
        m.xShmLock = on_shm_lock;
        m.xShmBarrier = on_shm_barrier;
        m.xShmUnmap = on_shm_unmap;
        return m;
    }();
    return all;
}

// The blocks behind a name that is opened; new ones when there are none. What stands in a file that
// the disk has never heard of was written by others (the store makes its database file itself,
// empty).
BlocksPtr blocks_of(Disk::State& state, const std::string& name) {
    BlocksPtr& blocks = state.names.seen[name];
    if (!blocks) {
        blocks = std::make_shared<Blocks>();
    }
    return blocks;
}

int on_open(sqlite3_vfs* vfs, sqlite3_filename name, sqlite3_file* file, int flags, int* out) {
    Disk& disk = of(vfs);
    File& f = of(file);
    f.base.pMethods = nullptr;
    f.disk = &disk;
    f.blocks = nullptr;
    f.keep = nullptr;
    f.database = (flags & SQLITE_OPEN_MAIN_DB) != 0;
    if (disk.failed()) {
        return SQLITE_CANTOPEN;
    }
    if (const int opened = disk.real().xOpen(&disk.real(), name, f.real(), flags, out);
        opened != SQLITE_OK) {
        return opened;
    }
    const int ours = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL;
    if (name != nullptr && (flags & ours) != 0) {
        f.keep = new BlocksPtr(
            disk.state().with([&](Disk::State& state) { return blocks_of(state, name); }));
        f.blocks = f.keep->get();
    }
    f.base.pMethods = &methods();
    return SQLITE_OK;
}

int on_delete(sqlite3_vfs* vfs, const char* name, int sync) {
    Disk& disk = of(vfs);
    const int counted = disk.state().with([&](Disk::State& state) {
        if (Disk::operate(state, Disk::Where::kAnywhere) != SQLITE_OK) {
            return SQLITE_IOERR_DELETE;
        }
        state.names.seen.erase(name);
        return SQLITE_OK;
    });
    return counted != SQLITE_OK ? counted : disk.real().xDelete(&disk.real(), name, sync);
}

int on_access(sqlite3_vfs* vfs, const char* name, int flags, int* out) {
    return of(vfs).real().xAccess(&of(vfs).real(), name, flags, out);
}
int on_full_path(sqlite3_vfs* vfs, const char* name, int size, char* out) {
    return of(vfs).real().xFullPathname(&of(vfs).real(), name, size, out);
}
int on_randomness(sqlite3_vfs* vfs, int size, char* out) {
    return of(vfs).real().xRandomness(&of(vfs).real(), size, out);
}
int on_sleep(sqlite3_vfs* vfs, int micros) {
    return of(vfs).real().xSleep(&of(vfs).real(), micros);
}
int on_time(sqlite3_vfs* vfs, double* out) {
    return of(vfs).real().xCurrentTime(&of(vfs).real(), out);
}
int on_time64(sqlite3_vfs* vfs, sqlite3_int64* out) {
    return of(vfs).real().xCurrentTimeInt64(&of(vfs).real(), out);
}
int on_last_error(sqlite3_vfs* vfs, int size, char* out) {
    return of(vfs).real().xGetLastError(&of(vfs).real(), size, out);
}

// The real file system opens a directory only to sync it.
Disk*& watching() {
    static Disk* disk = nullptr;
    return disk;
}
using OpenDirectory = int (*)(const char*, int*);
OpenDirectory& real_open_directory() {
    static OpenDirectory function = nullptr;
    return function;
}
int on_open_directory(const char* name, int* out) {
    if (Disk* disk = watching(); disk != nullptr) {
        disk->state().with([](Disk::State& state) {
            if (!state.failed) {
                state.names.durable = state.names.seen;
            }
        });
    }
    return real_open_directory()(name, out);
}

// What of a file's unsynced writes has reached the disk, laid over what is durable.
class Survivor {
  public:
    Survivor(Loss loss, std::mt19937_64& random) : loss_(loss), random_(random) {}

    std::string content(const Blocks& blocks) {
        std::string bytes = blocks.durable;
        const std::size_t kept = loss_ == Loss::kTail || loss_ == Loss::kTornTail
                                     ? random_() % (blocks.pending.size() + 1)
                                     : 0;
        for (std::size_t i = 0; i < blocks.pending.size(); ++i) {
            const Blocks::Write& write = blocks.pending[i];
            switch (loss_) {
                case Loss::kNothing: apply(bytes, write); break;
                case Loss::kEverything: break;
                case Loss::kSome: scatter(bytes, write); break;
                case Loss::kOlder:  // the newest first, as an elevator may order them
                    if (i >= blocks.pending.size() / 2) {
                        apply(bytes, write);
                    }
                    break;
                case Loss::kTail:
                    if (i < kept) {
                        apply(bytes, write);
                    }
                    break;
                case Loss::kTornTail:
                    if (i < kept) {
                        apply(bytes, write);
                    } else if (i == kept) {
                        tear(bytes, write);
                    }
                    break;
            }
        }
        return bytes;
    }

  private:
    bool chance() { return random_() % 2 == 0; }

    // Each sector by itself; now and then half of one.
    void scatter(std::string& bytes, const Blocks::Write& write) {
        if (write.truncate) {
            if (chance()) {
                apply(bytes, write);
            }
            return;
        }
        for (std::size_t done = 0; done < write.bytes.size();) {
            const std::size_t at = write.at + done;
            const std::size_t size = std::min(kSector - at % kSector, write.bytes.size() - done);
            if (chance()) {
                const std::size_t part = random_() % 8 == 0 ? size / 2 : size;
                apply(bytes, {at, write.bytes.substr(done, part), false});
            }
            done += size;
        }
    }

    // Its beginning or its end, cut anywhere.
    void tear(std::string& bytes, const Blocks::Write& write) {
        if (write.truncate || write.bytes.empty()) {
            return;
        }
        const std::size_t cut = random_() % write.bytes.size();
        if (chance()) {
            apply(bytes, {write.at, write.bytes.substr(0, cut), false});
        } else {
            apply(bytes, {write.at + cut, write.bytes.substr(cut), false});
        }
    }

    Loss loss_;
    std::mt19937_64& random_;
};

}  // namespace

Disk::Disk() : real_(sqlite3_vfs_find(nullptr)) {
    vfs_.iVersion = 2;
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs_.mxPathname = real_->mxPathname;
    vfs_.zName = "losing-power";
    vfs_.pAppData = this;
    vfs_.xOpen = on_open;
    vfs_.xDelete = on_delete;
    vfs_.xAccess = on_access;
    vfs_.xFullPathname = on_full_path;
    vfs_.xRandomness = on_randomness;
    vfs_.xSleep = on_sleep;
    vfs_.xCurrentTime = on_time;
    vfs_.xGetLastError = on_last_error;
    vfs_.xCurrentTimeInt64 = on_time64;
    real_open_directory() =
        reinterpret_cast<OpenDirectory>(real_->xGetSystemCall(real_, "openDirectory"));
    watching() = this;
    real_->xSetSystemCall(real_, "openDirectory",
                          reinterpret_cast<sqlite3_syscall_ptr>(on_open_directory));
    sqlite3_vfs_register(&vfs_, 1);
}

Disk::~Disk() {
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(real_, 1);
    real_->xSetSystemCall(real_, "openDirectory", nullptr);
    watching() = nullptr;
}

int Disk::operate(State& state, Where on) {
    if (state.failed) {
        return SQLITE_IOERR;
    }
    if (state.armed && (state.where == Where::kAnywhere || on == state.where)) {
        if (state.left == 0) {
            state.failed = true;
            return SQLITE_IOERR;
        }
        --state.left;
    }
    return SQLITE_OK;
}

void Disk::fail_after(std::size_t operations, Where where) {
    state_.with([&](State& state) {
        state.armed = true;
        state.left = operations;
        state.where = where;
    });
}

void Disk::fail_now() {
    state_.with([](State& state) { state.failed = true; });
}

bool Disk::failed() const {
    return state_.with([](const State& state) { return state.failed; });
}

void Disk::fail_syncs(int count) {
    state_.with([&](State& state) { state.failing_syncs = count; });
}

void Disk::set_full(bool full) {
    state_.with([&](State& state) { state.full = full; });
}

std::size_t Disk::syncs() const {
    return state_.with([](const State& state) { return state.syncs; });
}

void Disk::forget() {
    state_.with([](State& state) { state = State{}; });
}

void Disk::recover(const std::string& directory, Loss loss, std::mt19937_64& random) {
    state_.with([&](State& state) {
        const Names before = std::move(state.names);
        state = State{};
        std::set<std::string> names;
        for (const auto* each : {&before.seen, &before.durable}) {
            for (const auto& [name, blocks] : *each) {
                names.insert(name);
            }
        }
        Survivor survivor(loss, random);
        for (const std::string& name : names) {
            const auto seen = before.seen.find(name);
            const auto durable = before.durable.find(name);
            const bool newer =
                loss == Loss::kNothing || (loss != Loss::kEverything && random() % 2 == 0);
            const auto& chosen = newer ? seen : durable;
            const auto& none = newer ? before.seen.end() : before.durable.end();
            const std::string path =
                (std::filesystem::path(directory) / std::filesystem::path(name).filename())
                    .string();
            std::filesystem::remove(path);
            if (chosen == none) {
                continue;
            }
            auto blocks = std::make_shared<Blocks>();
            blocks->durable = survivor.content(*chosen->second);
            std::ofstream(path, std::ios::binary) << blocks->durable;
            state.names.seen.emplace(path, blocks);
            state.names.durable.emplace(path, std::move(blocks));
        }
    });
}

}  // namespace culvert::store::test
