// SPDX-License-Identifier: Apache-2.0
// The SQLite engine: one writer connection, some readers on WAL snapshots, and a thread that moves
// the WAL into the file so that no commit waits for it.
#include "base/log.hpp"
#include "store/notifier.hpp"
#include "store/sqlite_connection.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <thread>

namespace culvert::store {
namespace {

constexpr std::size_t kReaders = 4;
// 4 KiB each. The thread starts to checkpoint at the first mark; at the second the writer does it
// itself, so that the WAL is bounded however hard it is written to.
constexpr int kCheckpointFrames = 1000;
constexpr int kCheckpointInlineFrames = 16000;

class FileDescriptor {
  public:
    explicit FileDescriptor(int fd) : fd_(fd) {}
    ~FileDescriptor() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    int get() const { return fd_; }

  private:
    int fd_;
};

// Watches live in the process that writes, so a file has one process. The lock is a file of its
// own: closing a second descriptor of the database would drop SQLite's own POSIX locks.
Result<std::unique_ptr<FileDescriptor>> lock_file(const std::string& path) {
    const std::string lock = path + ".lock";
    auto held = std::make_unique<FileDescriptor>(
        ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (held->get() < 0) {
        return std::unexpected(error_from_errno(errno, "open store: " + lock));
    }
    if (::flock(held->get(), LOCK_EX | LOCK_NB) != 0) {
        return fail(Code::kUnavailable, "open store: another process uses " + path);
    }
    return held;
}

// SQLite would create the file with the umask's mode; the WAL and the index take the file's mode.
Status make_private(const std::string& path) {
    const FileDescriptor file(
        ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    struct stat about{};
    if (file.get() < 0 || ::fstat(file.get(), &about) != 0) {
        return std::unexpected(error_from_errno(errno, "open store: " + path));
    }
    if (!S_ISREG(about.st_mode)) {
        return fail(Code::kCorrupt, "open store: not a regular file: " + path);
    }
    if ((about.st_mode & 0077) != 0 && ::fchmod(file.get(), 0600) != 0) {
        return std::unexpected(error_from_errno(errno, "open store: " + path));
    }
    return {};
}

using Connection = std::unique_ptr<SqliteConnection>;

class SqliteStore final : public Store {
  public:
    struct Parts {
        std::unique_ptr<FileDescriptor> lock;
        Connection writer;
        std::array<Connection, kReaders> readers;
        Connection checkpointer;
        std::int64_t revision = 1;
    };

    explicit SqliteStore(Parts parts)
        : lock_(std::move(parts.lock)),
          revision_(parts.revision),
          writer_(std::move(parts.writer)),
          notifier_(parts.revision, parts.revision == 1) {
        for (std::size_t i = 0; i < kReaders; ++i) {
            readers_[i].with([&](Connection& reader) { reader = std::move(parts.readers[i]); });
        }
        checkpointer_ = std::thread(
            [this, connection = std::move(parts.checkpointer)] { run_checkpoints(*connection); });
    }

    ~SqliteStore() override {
        due_.with([](Due& due) { due.stopping = true; });
        checkpointer_.join();
    }

    Result<TxnResult> txn(const Txn& txn) override {
        CULVERT_TRY_STATUS(check_txn(txn));
        return writer_.with([&](Connection& writer) { return write(*writer, txn); });
    }

    Result<RangeResult> range(const Range& range) override {
        CULVERT_TRY_STATUS(check_range(range));
        // a thread keeps its reader: what one request reads shares the pages that a write has made
        // stale
        thread_local const std::size_t mine = next_reader().fetch_add(1) % kReaders;
        Guarded<Connection>& slot = readers_[mine];
        return slot.with([&](Connection& reader) { return read(*reader, range); });
    }

    Result<std::unique_ptr<Watch>> watch(std::string key, std::string range_end,
                                         std::int64_t after_revision, WatchFn fn) override {
        return notifier_.watch(std::move(key), std::move(range_end), after_revision, std::move(fn));
    }

    std::int64_t revision() override { return revision_.load(); }

  private:
    static std::atomic<std::size_t>& next_reader() {
        static std::atomic<std::size_t> next{0};
        return next;
    }

    struct Due {
        bool now = false;
        bool stopping = false;
    };

    // One after the other under the writer's lock: that is what serialises transactions and orders
    // the watch. It covers the file's I/O on purpose: a connection is for one user at a time.
    Result<TxnResult> write(SqliteConnection& writer, const Txn& txn) {
        CULVERT_TRY_STATUS(writer.begin());
        auto applied = apply(writer, txn, revision_.load());
        if (!applied) {
            writer.rollback();
            return std::unexpected(std::move(applied.error()));
        }
        if (applied->batch.events.empty()) {
            writer.rollback();
            return std::move(applied->result);
        }
        auto done = writer.set_revision(applied->batch.revision);
        if (done) {
            done = writer.commit();
        }
        if (!done) {
            writer.rollback();
            return std::unexpected(std::move(done.error()));
        }
        revision_.store(applied->batch.revision);
        notifier_.publish(std::move(applied->batch));
        ask_checkpoint(writer);
        return std::move(applied->result);
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

    static void checkpoint(SqliteConnection& connection) {
        if (auto left = connection.checkpoint(); !left) {
            spdlog::warn("store: {}", left.error().message);
        }
    }

    void run_checkpoints(SqliteConnection& connection) {
        for (;;) {
            const bool stopping = due_.wait([](const Due& due) { return due.now || due.stopping; },
                                            [](Due& due) {
                                                due.now = false;
                                                return due.stopping;
                                            });
            if (stopping) {
                return;
            }
            checkpoint(connection);
        }
    }

    const std::unique_ptr<FileDescriptor> lock_;  // first in, last out
    std::atomic<std::int64_t> revision_;
    Guarded<Connection> writer_;
    std::array<Guarded<Connection>, kReaders> readers_;
    Notifier notifier_;
    Monitor<Due> due_;
    std::thread checkpointer_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite(const std::string& path) {
    SqliteStore::Parts parts;
    auto lock = lock_file(path);
    if (!lock) {
        return std::unexpected(std::move(lock.error()));
    }
    parts.lock = std::move(*lock);
    CULVERT_TRY_STATUS(make_private(path));
    auto connect = [&](Connection& out, SqliteConnection::Mode mode) -> Status {
        auto made = SqliteConnection::open(path, mode);
        if (!made) {
            return std::unexpected(prefixed(std::move(made.error()), path));
        }
        out = std::move(*made);
        return {};
    };
    CULVERT_TRY_STATUS(connect(parts.writer, SqliteConnection::Mode::kWriter));
    for (Connection& reader : parts.readers) {
        CULVERT_TRY_STATUS(connect(reader, SqliteConnection::Mode::kReader));
    }
    CULVERT_TRY_STATUS(connect(parts.checkpointer, SqliteConnection::Mode::kReader));
    auto revision = parts.writer->revision();
    if (!revision) {
        return std::unexpected(std::move(revision.error()));
    }
    parts.revision = *revision;
    return std::make_unique<SqliteStore>(std::move(parts));
}

}  // namespace culvert::store
