// SPDX-License-Identifier: Apache-2.0
// A disk that loses power: a SQLite file system (VFS) for tests. The real files hold what the
// processes see; beside them this keeps what a sync has covered and every write since. When power
// fails, any of those writes may be missing, out of order or half there (sectors of 512 bytes), and
// names made or removed since the directory was synced may be as before.
//
// It promises what SQLite asks of a disk (powersafe overwrite): a torn write changes no byte
// outside itself. Internally synchronized.
#pragma once

#include "base/guarded.hpp"

#include <sqlite3.h>

#include <cstddef>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace culvert::store::test {

// What a file's blocks hold. A name leads to it.
struct Blocks {
    struct Write {
        std::size_t at = 0;
        std::string bytes;
        bool truncate = false;  // to `at` bytes
    };
    std::string durable;
    std::vector<Write> pending;
};
using BlocksPtr = std::shared_ptr<Blocks>;

// What becomes of the unsynced writes: all lost, none, sectors of them at random, the older half,
// all after one of them, the same with that one torn.
enum class Loss { kNothing, kEverything, kSome, kOlder, kTail, kTornTail };

class Disk {
  public:
    enum class Where { kAnywhere, kDatabase };  // kDatabase: a checkpoint's writes

    // Becomes SQLite's default file system until it goes.
    Disk();
    ~Disk();
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;

    // Power fails in the middle of the n-th write, truncation, sync or removal from now on: it and
    // everything after it answers an error and changes nothing any more.
    void fail_after(std::size_t operations, Where where = Where::kAnywhere);
    void fail_now();
    bool failed() const;

    // The next syncs answer EIO, as a disk that has lost pages does; writes go on.
    void fail_syncs(int count);
    // Writes answer that the disk is full while set.
    void set_full(bool full);
    std::size_t syncs() const;

    // Power is back: makes the files of `directory` as the disk may have kept them and forgets
    // everything else. All connections must be closed.
    void recover(const std::string& directory, Loss loss, std::mt19937_64& random);

    // Forgets all files, for a new directory. All connections must be closed.
    void forget();

    // --- for the callbacks ---
    struct Names {
        std::map<std::string, BlocksPtr> seen;     // by processes
        std::map<std::string, BlocksPtr> durable;  // by the disk
    };
    struct State {
        Names names;
        bool armed = false;
        bool failed = false;
        bool full = false;
        std::size_t left = 0;
        Where where = Where::kAnywhere;
        int failing_syncs = 0;
        std::size_t syncs = 0;
    };
    // Counts an operation. SQLITE_OK, or the error with which power has failed. kDatabase: on the
    // database file itself.
    static int operate(State& state, Where on);
    Guarded<State>& state() { return state_; }
    sqlite3_vfs& real() { return *real_; }

  private:
    Guarded<State> state_;
    sqlite3_vfs* real_;
    sqlite3_vfs vfs_{};
};

}  // namespace culvert::store::test
