// SPDX-License-Identifier: Apache-2.0
// Backup and restore of an installation: the store, and the authority's and the server's keys. A
// restored installation is the same one: its nodes' certificates and its users' tokens and
// passwords still work. That is why a backup holds secrets and is only for its owner (0600).
#pragma once

#include "base/clock.hpp"
#include "base/guarded.hpp"
#include "base/random.hpp"
#include "base/result.hpp"
#include "control/call.hpp"
#include "store/archive.hpp"
#include "store/store.hpp"

#include <filesystem>
#include <memory>
#include <thread>

namespace culvert::control {

// Certificates and keys of a data directory: its *.crt, *.key and *.pem.
Result<std::vector<store::ArchivedFile>> key_files(const std::filesystem::path& data_dir);

// Writes a backup to `file`, which must not exist, while others read and write the store.
Status write_backup(store::Store& store, const std::filesystem::path& data_dir,
                    const std::filesystem::path& file);

struct RestoreRequest {
    std::filesystem::path from;
    std::filesystem::path data_dir;
    store::RestorePoint point;
    bool force = false;  // what is there is kept beside, as store.db.replaced-TIME
};

struct RestoreResult {
    std::int64_t shown = 0;          // the revision whose state the store has now
    std::int64_t revision = 0;       // of the store
    std::string epoch;               // what fences everything that was given out since the backup
    std::filesystem::path replaced;  // where the former store is; empty: there was none
};

// Offline. Errors: as store::restore_archive(); kConflict when there is a store and no `force`;
// kUnavailable while culvertd uses the directory.
Result<RestoreResult> restore_backup(const RestoreRequest& request, const Clock& clock,
                                     Random& random);

// Backups asked for through the API: one at a time, on a thread of their own, written into the data
// directory, where only who may read that directory can take them away. The next one replaces the
// last one. Internally synchronized.
class Backups {
  public:
    Backups(store::Store& store, const Clock& clock, std::filesystem::path data_dir);
    ~Backups();
    Backups(const Backups&) = delete;
    Backups& operator=(const Backups&) = delete;

    void make(const ReplyFn& reply);

  private:
    Result<boost::json::object> run();

    store::Store& store_;
    const Clock& clock_;
    const std::filesystem::path data_dir_;
    struct State {
        bool busy = false;
        std::thread worker;
    };
    Guarded<State> state_;
};

// POST Culvert/backups -> {"file", "bytes", "revision"}; POST Culvert/verifications -> {"revision",
// "keys", "resources", "findings"}. For operators.
void add_store_handlers(Registry& registry, Services& services, Backups& backups);

}  // namespace culvert::control
