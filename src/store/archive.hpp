// SPDX-License-Identifier: Apache-2.0
// Backups of a store: one file (SQLite, mode 0600) with everything that Store::snapshot() writes
// and the files that belong beside the store. It holds secrets: keys, hashes of passwords.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace culvert::store {

struct ArchivedFile {
    std::string name;
    std::string bytes;

    bool operator==(const ArchivedFile&) const = default;
};

// Makes a snapshot a backup: adds the files and leaves it as one file, synced.
Status complete_archive(const std::string& snapshot, const std::vector<ArchivedFile>& files);

// Where to go back to; neither: the state as of the backup.
struct RestorePoint {
    std::optional<std::int64_t> revision;
    std::optional<WallTime> time;     // the last revision at or before it
    std::vector<std::string> kept{};  // prefixes of keys that stay as they are in the backup
};

struct Restored {
    std::int64_t shown = 0;  // the revision whose state the store has now
    std::int64_t revision =
        0;  // where it goes on: far above all that may have been given out since
    std::vector<ArchivedFile> files;
};

// Makes the store `to`, which must not exist, from a backup. Its revision jumps by kRestoreJump, so
// that no ETag of the life that ended comes again. Errors: kCorrupt (damaged, no backup, of a newer
// version), kConflict (`to` exists), kInvalidArgument (a point that the backup cannot show, naming
// the oldest and newest it can). After an error nothing is left of `to`.
inline constexpr std::int64_t kRestoreJump = 1'000'000'000;
Result<Restored> restore_archive(const std::string& archive, const std::string& to,
                                 const RestorePoint& point);

}  // namespace culvert::store
