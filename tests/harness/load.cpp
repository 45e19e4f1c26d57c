// SPDX-License-Identifier: Apache-2.0
// Thousands of TCP connections, counted exactly.
//
//   culvert-load serve --port N                 echoes whatever it gets; says "ready"
//   culvert-load drive --target ADDRESS:PORT --idle N --busy N [--fresh N] [--churn N]
//                      [--pace MS] [--beat S] [--patience S]
//
// `drive` opens idle and busy connections, then makes `fresh` short ones a second, and as many as
// it can with `churn` of them under way at any time. A busy one sends
// a message every `pace` and wants its echo; an idle one only every `beat` and when asked. On its
// standard input: "check": every connection exchanges a message, then a line of JSON; "quit": a
// line and the end. broken: a connection that was established and then failed, fell silent for
// `patience` or echoed other bytes. failed: one that was not established, or a short one that was
// not served.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr int kEvents = 512;
constexpr std::size_t kMostBytes = 1200;
constexpr std::size_t kLeastBytes = 32;
constexpr std::size_t kOpening = 200;  // connections that are being opened at once

[[noreturn]] void die(const std::string& what) {
    std::fprintf(stderr, "culvert-load: %s: %s\n", what.c_str(), std::strerror(errno));
    std::exit(2);
}

// As many as the machine allows.
void allow_descriptors() {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        die("allow more descriptors");
    }
}

void watch(int epoll, int fd, std::uint32_t events, std::uint64_t mark, int how = EPOLL_CTL_ADD) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = mark;
    if (epoll_ctl(epoll, how, fd, &event) != 0) {
        die("watch a socket");
    }
}

// -- serve --------------------------------------------------------------------------------------

// Echoes what came; false: the connection is over. What the socket does not take at once is kept.
bool echo(int fd, std::string& kept, bool& full) {
    std::array<char, 16384> buffer{};
    while (true) {
        while (!kept.empty()) {
            const ssize_t sent = ::send(fd, kept.data(), kept.size(), MSG_NOSIGNAL);
            if (sent < 0) {
                full = errno == EAGAIN;
                return full;
            }
            kept.erase(0, static_cast<std::size_t>(sent));
        }
        full = false;
        const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
        if (got <= 0) {
            return got < 0 && errno == EAGAIN;
        }
        kept.assign(buffer.data(), static_cast<std::size_t>(got));
    }
}

int serve(std::uint16_t port) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
        listen(listener, 4096) != 0) {
        die("listen");
    }
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(epoll, listener, EPOLLIN, static_cast<std::uint64_t>(listener));
    std::map<int, std::string> kept;
    std::puts("ready");
    std::fflush(stdout);
    std::array<epoll_event, kEvents> events{};
    while (true) {
        const int count = epoll_wait(epoll, events.data(), kEvents, -1);
        for (int at = 0; at < count; at++) {
            const int fd = static_cast<int>(events[static_cast<std::size_t>(at)].data.u64);
            if (fd == listener) {
                for (int taken = 0; (taken = accept4(listener, nullptr, nullptr,
                                                     SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
                    setsockopt(taken, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                    watch(epoll, taken, EPOLLIN, static_cast<std::uint64_t>(taken));
                }
                continue;
            }
            bool full = false;
            if (echo(fd, kept[fd], full)) {
                const std::uint32_t wanted = full ? EPOLLOUT : EPOLLIN;
                watch(epoll, fd, wanted, static_cast<std::uint64_t>(fd), EPOLL_CTL_MOD);
            } else {
                kept.erase(fd);
                ::close(fd);
            }
        }
    }
}

// -- drive --------------------------------------------------------------------------------------

struct Plan {
    sockaddr_in target{};
    std::size_t idle = 0;
    std::size_t busy = 0;
    std::size_t fresh = 0;  // a second
    std::size_t churn = 0;  // short ones under way
    std::chrono::milliseconds pace{1000};
    std::chrono::seconds beat{60};
    std::chrono::seconds patience{60};
};

enum class Kind { kIdle, kBusy, kFresh };
enum class Phase { kConnecting, kResting, kWaiting, kOver };

struct Connection {
    int fd = -1;
    Kind kind = Kind::kFresh;
    Phase phase = Phase::kConnecting;
    std::uint64_t turn = 0;  // exchanges begun; also tells old timers from new ones
    std::string message;
    std::size_t sent = 0;
    std::size_t echoed = 0;
    Clock::time_point began;
    Clock::time_point last_done;
};

struct Timer {
    Clock::time_point at;
    std::uint64_t id;
    std::uint64_t turn;
    bool operator<(const Timer& other) const { return at > other.at; }  // the earliest on top
};

struct Counts {
    std::uint64_t opened = 0;  // long ones
    std::uint64_t broken = 0;
    std::uint64_t failed = 0;
    std::uint64_t fresh = 0;  // short ones that were served
    std::uint64_t exchanges = 0;
    Clock::duration slowest{};
    std::map<std::string, std::uint64_t> why;
};

class Driver {
  public:
    explicit Driver(const Plan& plan) : plan_(plan), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
        fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
        watch(epoll_, STDIN_FILENO, EPOLLIN, kInput);
        to_open_ = plan.idle + plan.busy;
        next_fresh_ = Clock::now();
    }

    void run() {
        std::array<epoll_event, kEvents> events{};
        while (!quit_) {
            open_more();
            const auto wait = std::clamp(until_next(), Clock::duration(0), Clock::duration(100ms));
            const int count = epoll_wait(
                epoll_, events.data(), kEvents,
                static_cast<int>(
                    std::chrono::duration_cast<std::chrono::milliseconds>(wait).count()));
            for (int at = 0; at < count; at++) {
                const auto mark = events[static_cast<std::size_t>(at)].data.u64;
                if (mark == kInput) {
                    read_commands();
                } else {
                    ready(mark);
                }
            }
            run_timers();
            conclude_check();
        }
        print("end");
    }

  private:
    static constexpr std::uint64_t kInput = ~std::uint64_t{0};

    Clock::duration until_next() const {
        return timers_.empty() ? Clock::duration(100ms) : timers_.top().at - Clock::now();
    }

    void open_more() {
        while (to_open_ > 0 && opening_ < kOpening) {
            const bool idle = to_open_ > plan_.busy;
            --to_open_;
            open(idle ? Kind::kIdle : Kind::kBusy);
        }
        if (to_open_ == 0 && opening_ == 0 && !opened_all_) {
            opened_all_ = true;
            next_fresh_ = Clock::now();
            print("open");
        }
        while (opened_all_ && plan_.fresh > 0 && next_fresh_ <= Clock::now()) {
            next_fresh_ += std::chrono::nanoseconds(1s) / plan_.fresh;
            open(Kind::kFresh);
        }
        for (std::size_t tried = 0; opened_all_ && short_ones_ < plan_.churn && tried < plan_.churn;
             ++tried) {
            open(Kind::kFresh);
        }
    }

    void open(Kind kind) {
        const std::uint64_t id = next_id_++;
        Connection made{.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                        .kind = kind,
                        .message = {},
                        .began = Clock::now(),
                        .last_done = {}};
        if (made.fd < 0) {
            die("make a socket");
        }
        const int on = 1;
        setsockopt(made.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        const int error = ::connect(made.fd, reinterpret_cast<const sockaddr*>(&plan_.target),
                                    sizeof(plan_.target));
        const bool refused = error != 0 && errno != EINPROGRESS;
        const int why = errno;
        auto& kept = connections_.emplace(id, std::move(made)).first->second;
        opening_ += kind != Kind::kFresh;
        short_ones_ += kind == Kind::kFresh;
        if (refused) {
            end(id, kept, std::string("connect: ") + std::strerror(why));
            return;
        }
        watch(epoll_, kept.fd, EPOLLOUT, id);
        arm(id, kept, plan_.patience);
    }

    void arm(std::uint64_t id, const Connection& connection, Clock::duration after) {
        timers_.push({Clock::now() + after, id, connection.turn});
    }

    // The connection has failed: `why` says how.
    void end(std::uint64_t id, Connection& connection, const std::string& why) {
        const bool established = connection.phase != Phase::kConnecting;
        const bool fresh = connection.kind == Kind::kFresh;
        opening_ -= !fresh && !established;
        (established && !fresh ? counts_.broken : counts_.failed) += 1;
        counts_.why[(established && !fresh ? "broken: " : "failed: ") + why] += 1;
        close(id, connection);
    }

    void close(std::uint64_t id, Connection& connection) {
        ::close(connection.fd);
        short_ones_ -= connection.kind == Kind::kFresh;
        connections_.erase(id);
    }

    void begin(std::uint64_t id, Connection& connection) {
        ++connection.turn;
        connection.phase = Phase::kWaiting;
        connection.began = Clock::now();
        connection.sent = connection.echoed = 0;
        const auto seed = id * 0x9e3779b97f4a7c15u ^ connection.turn * 0xc2b2ae3d27d4eb4fu;
        connection.message.resize(kLeastBytes + seed % (kMostBytes - kLeastBytes));
        for (std::size_t at = 0; at < connection.message.size(); at++) {
            connection.message[at] = static_cast<char>(seed >> at % 8 * 8 ^ at);
        }
        arm(id, connection, plan_.patience);
        send(id, connection);
    }

    void send(std::uint64_t id, Connection& connection) {
        const auto left = std::string_view(connection.message).substr(connection.sent);
        const ssize_t sent = ::send(connection.fd, left.data(), left.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            end(id, connection, std::string("send: ") + std::strerror(errno));
            return;
        }
        connection.sent += sent > 0 ? static_cast<std::size_t>(sent) : 0;
        const bool all = connection.sent == connection.message.size();
        watch(epoll_, connection.fd, all ? EPOLLIN : EPOLLIN | EPOLLOUT, id, EPOLL_CTL_MOD);
    }

    void ready(std::uint64_t id) {
        const auto found = connections_.find(id);
        if (found == connections_.end()) {
            return;
        }
        auto& connection = found->second;
        if (connection.phase == Phase::kConnecting) {
            int error = 0;
            socklen_t length = sizeof(error);
            getsockopt(connection.fd, SOL_SOCKET, SO_ERROR, &error, &length);
            if (error != 0) {
                end(id, connection, std::string("connect: ") + std::strerror(error));
                return;
            }
            if (connection.kind != Kind::kFresh) {
                --opening_;
                ++counts_.opened;
            }
            begin(id, connection);
            return;
        }
        if (connection.sent < connection.message.size()) {
            send(id, connection);
            if (!connections_.contains(id)) {
                return;
            }
        }
        receive(id, connection);
    }

    void receive(std::uint64_t id, Connection& connection) {
        std::array<char, 4096> buffer{};
        while (true) {
            const ssize_t got = ::recv(connection.fd, buffer.data(), buffer.size(), 0);
            if (got < 0 && errno == EAGAIN) {
                return;
            }
            if (got <= 0) {
                end(id, connection,
                    got == 0 ? "closed by the server"
                             : std::string("receive: ") + std::strerror(errno));
                return;
            }
            const auto bytes = static_cast<std::size_t>(got);
            const auto wanted = std::string_view(connection.message).substr(connection.echoed);
            if (connection.phase != Phase::kWaiting || bytes > wanted.size() ||
                std::memcmp(buffer.data(), wanted.data(), bytes) != 0) {
                end(id, connection, "other bytes came back");
                return;
            }
            connection.echoed += bytes;
            if (connection.echoed == connection.message.size()) {
                complete(id, connection);
                return;
            }
        }
    }

    void complete(std::uint64_t id, Connection& connection) {
        connection.phase = Phase::kResting;
        connection.last_done = Clock::now();
        counts_.slowest = std::max(counts_.slowest, connection.last_done - connection.began);
        ++counts_.exchanges;
        if (connection.kind == Kind::kFresh) {
            ++counts_.fresh;
            close(id, connection);
            return;
        }
        ++connection.turn;
        if (checking_ && connection.kind == Kind::kIdle) {
            return;  // conclude_check() sets it going again
        }
        // spread over time: between half and one and a half of it
        const Clock::duration rest = connection.kind == Kind::kBusy ? Clock::duration(plan_.pace)
                                                                    : Clock::duration(plan_.beat);
        arm(id, connection, rest / 2 + rest * static_cast<int>(id * 7919 % 100) / 100);
    }

    void run_timers() {
        while (!timers_.empty() && timers_.top().at <= Clock::now()) {
            const Timer due = timers_.top();
            timers_.pop();
            const auto found = connections_.find(due.id);
            if (found == connections_.end() || found->second.turn != due.turn) {
                continue;
            }
            if (found->second.phase == Phase::kResting) {
                begin(due.id, found->second);
            } else {
                end(due.id, found->second, "no answer in time");
            }
        }
    }

    void read_commands() {
        std::array<char, 256> buffer{};
        const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
        if (got == 0) {
            quit_ = true;
        }
        if (got <= 0) {
            return;
        }
        const std::string_view text(buffer.data(), static_cast<std::size_t>(got));
        quit_ = quit_ || text.find("quit") != std::string_view::npos;
        if (text.find("check") == std::string_view::npos) {
            return;
        }
        checking_ = true;
        check_began_ = Clock::now();
        std::vector<std::uint64_t> idle;
        for (const auto& [id, connection] : connections_) {
            if (connection.kind == Kind::kIdle && connection.phase == Phase::kResting) {
                idle.push_back(id);
            }
        }
        for (const auto id : idle) {
            if (const auto found = connections_.find(id); found != connections_.end()) {
                begin(id, found->second);
            }
        }
    }

    // Every long connection has exchanged something since the check began, or has ended.
    void conclude_check() {
        if (!checking_ || !opened_all_ || Clock::now() < check_next_) {
            return;
        }
        check_next_ = Clock::now() + 50ms;
        const bool all = std::all_of(connections_.begin(), connections_.end(), [&](auto& each) {
            return each.second.kind == Kind::kFresh || each.second.last_done >= check_began_;
        });
        if (!all) {
            return;
        }
        checking_ = false;
        for (auto& [id, connection] : connections_) {
            if (connection.kind == Kind::kIdle) {
                arm(id, connection, plan_.beat);
            }
        }
        print("check");
    }

    void print(const char* event) {
        std::size_t open = 0;
        for (const auto& [id, connection] : connections_) {
            open += connection.kind != Kind::kFresh && connection.phase != Phase::kConnecting;
        }
        std::string why;
        for (const auto& [text, count] : counts_.why) {
            why += (why.empty() ? "\"" : ", \"") + text + "\": " + std::to_string(count);
        }
        std::printf(
            "{\"event\": \"%s\", \"open\": %zu, \"opened\": %llu, \"broken\": %llu, "
            "\"failed\": %llu, \"fresh\": %llu, \"exchanges\": %llu, \"slowest_ms\": %lld, "
            "\"why\": {%s}}\n",
            event, open, static_cast<unsigned long long>(counts_.opened),
            static_cast<unsigned long long>(counts_.broken),
            static_cast<unsigned long long>(counts_.failed),
            static_cast<unsigned long long>(counts_.fresh),
            static_cast<unsigned long long>(counts_.exchanges),
            static_cast<long long>(
                std::chrono::duration_cast<std::chrono::milliseconds>(counts_.slowest).count()),
            why.c_str());
        std::fflush(stdout);
        counts_.slowest = {};
    }

    const Plan plan_;
    const int epoll_;
    std::map<std::uint64_t, Connection> connections_;
    std::priority_queue<Timer> timers_;
    std::uint64_t next_id_ = 1;
    std::size_t to_open_ = 0;
    std::size_t opening_ = 0;
    std::size_t short_ones_ = 0;
    bool opened_all_ = false;
    Clock::time_point next_fresh_;
    bool checking_ = false;
    Clock::time_point check_began_;
    Clock::time_point check_next_;
    bool quit_ = false;
    Counts counts_;
};

std::size_t number(const char* text) { return std::strtoull(text, nullptr, 10); }

sockaddr_in address_of(const std::string& text) {
    sockaddr_in out{};
    const auto colon = text.find(':');
    out.sin_family = AF_INET;
    if (colon == std::string::npos ||
        inet_pton(AF_INET, text.substr(0, colon).c_str(), &out.sin_addr) != 1) {
        errno = EINVAL;
        die("--target " + text);
    }
    out.sin_port = htons(static_cast<std::uint16_t>(number(text.c_str() + colon + 1)));
    return out;
}

}  // namespace

int main(int argc, char** argv) {
    std::map<std::string, std::string> options;
    for (int at = 2; at + 1 < argc; at += 2) {
        options[argv[at]] = argv[at + 1];
    }
    const std::string command = argc > 1 ? argv[1] : "";
    const auto given = [&](const char* name, std::size_t otherwise) {
        return options.contains(name) ? number(options[name].c_str()) : otherwise;
    };
    allow_descriptors();
    if (command == "serve" && options.contains("--port")) {
        return serve(static_cast<std::uint16_t>(given("--port", 0)));
    }
    if (command == "drive" && options.contains("--target")) {
        Plan plan;
        plan.target = address_of(options["--target"]);
        plan.idle = given("--idle", 0);
        plan.busy = given("--busy", 0);
        plan.fresh = given("--fresh", 0);
        plan.churn = given("--churn", 0);
        plan.pace = std::chrono::milliseconds(given("--pace", 1000));
        plan.beat = std::chrono::seconds(given("--beat", 60));
        plan.patience = std::chrono::seconds(given("--patience", 60));
        Driver(plan).run();
        return 0;
    }
    std::fputs(
        "usage: culvert-load serve --port N | drive --target ADDRESS:PORT --idle N --busy N\n",
        stderr);
    return 2;
}
