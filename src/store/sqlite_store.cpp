// SPDX-License-Identifier: Apache-2.0
// The SQLite engine: one writer connection, some readers on WAL snapshots, and a thread that moves
// the WAL into the file so that no commit waits for it.
//
// A full disk makes it read-only until there is space. After a failed write or sync nothing is
// known about what the kernel has kept of it, and syncing again would only seem to succeed: every
// connection is closed, and the file must open, be whole and hold what was acknowledged before
// anything is written to it again.
#include "base/limits.hpp"
#include "base/log.hpp"
#include "store/notifier.hpp"
#include "store/sqlite_connection.hpp"
#include "store/sqlite_files.hpp"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <thread>

namespace culvert::store {
namespace {

constexpr std::size_t kReaders = 4;
// 4 KiB each. The thread starts to checkpoint at the first mark; at the second the writer does it
// itself, so that the WAL is bounded however hard it is written to.
constexpr int kCheckpointFrames = 1000;
constexpr int kCheckpointInlineFrames = 16000;

using Connection = std::unique_ptr<SqliteConnection>;

Result<Connection> connect(const std::string& path, SqliteConnection::Mode mode) {
    auto made = SqliteConnection::open(path, mode);
    if (!made) {
        return std::unexpected(prefixed(std::move(made.error()), path));
    }
    return std::move(*made);
}

class SqliteStore final : public Store {
  public:
    SqliteStore(std::string path, std::unique_ptr<FileDescriptor> lock, Connection writer,
                std::int64_t revision)
        : path_(std::move(path)),
          lock_(std::move(lock)),
          revision_(revision),
          notifier_(revision, revision == 1) {
        writing_.with([&](Writing& w) { w.connection = std::move(writer); });
    }

    // The other connections, then the thread.
    Status start() {
        CULVERT_TRY_STATUS(connect_readers());
        thread_ = std::thread([this] { run_checkpoints(); });
        return {};
    }

    ~SqliteStore() override {
        if (thread_.joinable()) {
            due_.with([](Due& due) { due.stopping = true; });
            thread_.join();
        }
    }

    Result<TxnResult> txn(const Txn& txn) override {
        CULVERT_TRY_STATUS(check_txn(txn));
        return writing_.with([&](Writing& w) { return write(w, txn); });
    }

    Result<RangeResult> range(const Range& range) override {
        CULVERT_TRY_STATUS(check_range(range));
        return with_reader([&](SqliteConnection& reader) { return read(reader, range); });
    }

    Result<std::unique_ptr<Watch>> watch(std::string key, std::string range_end,
                                         std::int64_t after_revision, WatchFn fn) override {
        return notifier_.watch(std::move(key), std::move(range_end), after_revision, std::move(fn));
    }

    std::int64_t revision() override { return revision_.load(); }

    Status writable() override {
        return writing_.with([&](Writing& w) { return make_ready(w); });
    }

    Status snapshot(const std::string& path) override {
        CULVERT_TRY_STATUS(make_private(path, true));
        // of its own: a long copy must not hold up who reads
        auto connection = connect(path_, SqliteConnection::Mode::kReader);
        if (!connection) {
            return std::unexpected(std::move(connection.error()));
        }
        return (*connection)->copy_to(path);
    }

  private:
    // The writer and what stands between it and the next write.
    struct Writing {
        Connection connection;
        bool full = false;
        bool in_doubt = false;
        std::optional<WatchBatch> unanswered;  // may have become durable all the same
    };
    struct Due {
        bool now = false;
        bool stopping = false;
    };

    template <typename F>
    Result<RangeResult> with_reader(F&& use) {
        // a thread keeps its reader: what one request reads shares the pages that a write has made
        // stale
        thread_local const std::size_t mine = next_reader().fetch_add(1) % kReaders;
        return readers_[mine].with([&](Connection& reader) -> Result<RangeResult> {
            if (!reader) {
                return fail(Code::kUnavailable, "read store: the disk has failed");
            }
            return use(*reader);
        });
    }

    static std::atomic<std::size_t>& next_reader() {
        static std::atomic<std::size_t> next{0};
        return next;
    }

    // One after the other under the writer's lock: that is what serialises transactions and orders
    // the watch. It covers the file's I/O on purpose: a connection is for one user at a time.
    Result<TxnResult> write(Writing& w, const Txn& txn) {
        CULVERT_TRY_STATUS(make_ready(w));
        SqliteConnection& writer = *w.connection;
        if (auto begun = writer.begin(); !begun) {
            return std::unexpected(give_up(w, std::move(begun.error())));
        }
        auto applied = apply(writer, txn, revision_.load());
        if (!applied) {
            return std::unexpected(give_up(w, std::move(applied.error())));
        }
        if (applied->batch.events.empty()) {
            writer.rollback();
            return std::move(applied->result);
        }
        auto done = writer.set_revision(applied->batch.revision);
        if (done && txn.remembered) {
            done = writer.remember(applied->batch);
        }
        if (done) {
            done = writer.commit();
        }
        if (!done) {
            w.unanswered = std::move(applied->batch);
            return std::unexpected(give_up(w, std::move(done.error())));
        }
        if (w.full) {
            w.full = false;
            spdlog::info("store: {} has space again: writing goes on", directory_of(path_));
        }
        announce(std::move(applied->batch));
        ask_checkpoint(writer);
        return std::move(applied->result);
    }

    void announce(WatchBatch batch) {
        revision_.store(batch.revision);
        notifier_.publish(std::move(batch));
    }

    // Undoes a write that failed and notes why.
    Error give_up(Writing& w, Error error) {
        const Fault fault = w.connection->fault();
        w.connection->rollback();
        if (fault == Fault::kDisk) {
            w.in_doubt = true;
            spdlog::error("store: {}: it is opened and checked anew before the next write",
                          error.message);
            return error;
        }
        w.unanswered.reset();
        return fault == Fault::kFull ? full(w) : std::move(error);
    }

    Error full(Writing& w) const {
        if (!w.full) {
            spdlog::error("store: the disk of {} is full: nothing can be written", path_);
        }
        w.full = true;
        return Error{Code::kStorageFull,
                     fmt::format("the disk that holds {} is full: nothing can be changed until "
                                 "there is space there, reading goes on",
                                 directory_of(path_)),
                     {},
                     "InsufficientStorage",
                     {}};
    }

    // May the writer write?
    Status make_ready(Writing& w) {
        if (checkpoint_failed_.exchange(false)) {
            w.in_doubt = true;
        }
        if (w.in_doubt) {
            CULVERT_TRY_STATUS(reopen(w));
        }
        if (w.full && free_bytes(path_) < limits::kStoreReserveBytes) {
            return std::unexpected(full(w));
        }
        return {};
    }

    // Closes everything and opens it anew. INVARIANT: afterwards what the file holds is on the
    // disk, and it is everything that was acknowledged.
    Status reopen(Writing& w) {
        for (Guarded<Connection>* each :
             {&readers_[0], &readers_[1], &readers_[2], &readers_[3], &checkpointer_}) {
            each->with([](Connection& connection) { close(connection); });
        }
        close(w.connection);
        auto writer = connect(path_, SqliteConnection::Mode::kWriter);
        auto revision = writer ? (*writer)->revision()
                               : Result<std::int64_t>(std::unexpected(std::move(writer.error())));
        if (!revision) {
            return std::unexpected(prefixed(std::move(revision.error()), "open store anew"));
        }
        const bool late = w.unanswered && *revision == w.unanswered->revision;
        if (*revision != revision_.load() && !late) {
            spdlog::critical("store: {} has lost acknowledged writes: revision {} instead of {}",
                             path_, *revision, revision_.load());
            close(*writer);
            return fail(Code::kCorrupt,
                        "open store anew: the disk has lost acknowledged writes: "
                        "restore a backup");
        }
        w.connection = std::move(*writer);
        CULVERT_TRY_STATUS(connect_readers());
        if (late) {
            announce(std::move(*w.unanswered));
        }
        w.unanswered.reset();
        w.in_doubt = false;
        spdlog::info("store: {} is whole, writing goes on at revision {}", path_, revision_.load());
        return {};
    }

    static void close(Connection& connection) {
        if (connection) {
            connection->abandon();
            connection.reset();
        }
    }

    Status connect_readers() {
        for (Guarded<Connection>* each :
             {&readers_[0], &readers_[1], &readers_[2], &readers_[3], &checkpointer_}) {
            auto made = connect(path_, SqliteConnection::Mode::kReader);
            if (!made) {
                return std::unexpected(std::move(made.error()));
            }
            each->with([&](Connection& connection) { connection = std::move(*made); });
        }
        return {};
    }

    static Result<RangeResult> read(SqliteConnection& reader, const Range& range) {
        CULVERT_TRY_STATUS(reader.begin());
        auto revision = reader.revision();
        auto answer = revision ? run_range(reader, range, *revision)
                               : Result<RangeResult>(std::unexpected(revision.error()));
        reader.rollback();
        return answer;
    }

    void ask_checkpoint(SqliteConnection& writer) {
        if (writer.wal_frames() >= kCheckpointInlineFrames) {
            checkpoint(writer);
        } else if (writer.wal_frames() >= kCheckpointFrames) {
            due_.with([](Due& due) { due.now = true; });
        }
    }

    void checkpoint(SqliteConnection& connection) {
        if (auto left = connection.checkpoint(); !left) {
            spdlog::warn("store: {}", left.error().message);
            if (connection.fault() == Fault::kDisk) {
                checkpoint_failed_ = true;
            }
        }
    }

    void run_checkpoints() {
        for (;;) {
            const bool stopping = due_.wait([](const Due& due) { return due.now || due.stopping; },
                                            [](Due& due) {
                                                due.now = false;
                                                return due.stopping;
                                            });
            if (stopping) {
                return;
            }
            checkpointer_.with([&](Connection& connection) {
                if (connection) {
                    checkpoint(*connection);
                }
            });
        }
    }

    const std::string path_;
    const std::unique_ptr<FileDescriptor> lock_;  // first in, last out
    std::atomic<std::int64_t> revision_;
    std::atomic<bool> checkpoint_failed_{false};
    Guarded<Writing> writing_;
    std::array<Guarded<Connection>, kReaders> readers_;
    Guarded<Connection> checkpointer_;
    Notifier notifier_;
    Monitor<Due> due_;
    std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite(const std::string& path) {
    auto lock = lock_database(path);
    if (!lock) {
        return std::unexpected(std::move(lock.error()));
    }
    CULVERT_TRY_STATUS(make_private(path));
    auto writer = connect(path, SqliteConnection::Mode::kWriter);
    auto revision = writer ? (*writer)->revision()
                           : Result<std::int64_t>(std::unexpected(std::move(writer.error())));
    if (!revision) {
        return std::unexpected(std::move(revision.error()));
    }
    auto made =
        std::make_unique<SqliteStore>(path, std::move(*lock), std::move(*writer), *revision);
    CULVERT_TRY_STATUS(made->start());
    return made;
}

}  // namespace culvert::store
