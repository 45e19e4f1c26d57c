// SPDX-License-Identifier: Apache-2.0
// One SQLite connection with its prepared statements, as rows of the store. Not synchronized: used
// under the engine's lock.
#pragma once

#include "store/apply.hpp"

#include <memory>
#include <string>

struct sqlite3;
struct sqlite3_stmt;

namespace culvert::store {

// The file's marks: PRAGMA application_id ("Clvt") and user_version.
inline constexpr std::int64_t kApplicationId = 0x436c7674;
inline constexpr std::int64_t kSchemaVersion = 2;

// Why a statement failed, as far as the engine acts on it.
enum class Fault {
    kNone,
    kFull,  // no space: nothing was written, what is there is whole
    kDisk   // the file system could not read, write or sync: nothing is known about what it kept
};

class SqliteConnection final : public Rows {
  public:
    enum class Mode { kWriter, kReader };

    // Opens the file; a writer, which has to be the first, checks it, creates the schema in an
    // empty one, migrates an older one, a transaction a version, and moves everything from the WAL
    // into it. Errors: as open_sqlite().
    static Result<std::unique_ptr<SqliteConnection>> open(const std::string& path, Mode mode);
    ~SqliteConnection() override;
    SqliteConnection(const SqliteConnection&) = delete;
    SqliteConnection& operator=(const SqliteConnection&) = delete;

    Status begin();   // writer: takes the write lock; reader: a snapshot, fixed by the first read
    Status commit();  // durable when it answers; after an error nothing was written
    void rollback();

    // Of the last statement that failed; ask before rollback().
    Fault fault() const;
    // Closing is not to write anything: what the disk holds is in doubt.
    void abandon();

    Result<std::int64_t> revision();
    Status set_revision(std::int64_t revision);
    // Keeps what a transaction has replaced, with its time, for restore(); what is older than the
    // last limits::kHistoryRevisions that were kept goes.
    Status remember(const WatchBatch& batch);
    // Moves WAL frames into the file as far as readers allow; answers how many frames were left.
    Result<int> checkpoint();
    // Moves all of them and empties the WAL: afterwards nothing depends on it. Wants to be alone.
    Status checkpoint_all();
    // Copies the database as it is at this moment into a new file. Others may write meanwhile.
    Status copy_to(const std::string& path);
    // Any statements, for a file that nobody else uses.
    Status execute(const char* sql);
    Result<std::int64_t> number(const char* sql);
    // Frames in the WAL after the last commit of this connection.
    int wal_frames() const { return wal_frames_; }

    Result<std::optional<KeyValue>> get(const std::string& key) override;
    Status scan(const Range& range, const std::function<bool(KeyValue&&)>& visit) override;
    Result<std::size_t> count(const Range& range) override;
    Status put(const KeyValue& row) override;
    Status erase(const std::string& key) override;

  private:
    struct StatementDelete {
        void operator()(sqlite3_stmt* statement) const;
    };
    using Statement = std::unique_ptr<sqlite3_stmt, StatementDelete>;
    class Use;

    explicit SqliteConnection(Mode mode) : mode_(mode) {}
    Status identify();
    Status check_intact();
    Status settle_wal();
    Status migrate(std::int64_t from);
    Status prepare_all();
    Status prepare(Statement& out, const char* sql);
    Status run(Use& use);
    Error error(const char* doing) const;

    const Mode mode_;
    sqlite3* db_ = nullptr;
    int wal_frames_ = 0;
    std::uint64_t remembered_ = 0;  // revisions, by this connection
    Statement begin_, commit_, revision_, set_revision_, get_, put_, erase_;
    Statement scan_, scan_keys_, scan_to_end_, scan_keys_to_end_, count_, count_to_end_;
    Statement remember_, stamp_, forget_, forget_stamps_;
};

}  // namespace culvert::store
