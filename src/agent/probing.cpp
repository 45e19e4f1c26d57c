// SPDX-License-Identifier: Apache-2.0
#include "agent/probing.hpp"

#include "base/probe_limits.hpp"
#include "runtime/openssl.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

namespace culvert::agent {
namespace {

using SslContext = runtime::Owned<SSL_CTX, SSL_CTX_free>;
using SslSession = runtime::Owned<SSL, SSL_free>;

constexpr int kOk = 200;
constexpr long kMostCertificateBytes = 16 * 1024;  // of a server's chain

enum class Step : std::uint8_t { kConnect, kHandshake, kWrite, kRead };

struct Attempt {
    std::uint64_t id = 0;
    ProbeSpec spec;
    runtime::Fd fd;
    SslSession tls;
    Step step = Step::kConnect;
    std::uint32_t events = 0;  // waited for
    std::string request;
    std::size_t written = 0;
    std::string answer;
    SteadyTime began{};
    SteadyTime deadline{};
};

std::string request_of(const ProbeSpec& spec, const std::string& host) {
    return fmt::format(
        "GET {} HTTP/1.1\r\nHost: {}:{}\r\nUser-Agent: culvert-probe\r\nAccept: */*\r\n"
        "Connection: close\r\n\r\n",
        spec.path, host, spec.port);
}

ProbeResult refused(int error) {
    const bool reset = error == ECONNREFUSED || error == ECONNRESET || error == EPIPE;
    return {.outcome = reset ? Outcome::kDown : Outcome::kFailed,
            .reason = error == ECONNREFUSED ? "refused"
                      : reset               ? "reset"
                                            : std::strerror(error),
            .took = {}};
}

ProbeResult unasked(std::string why) {
    return {.outcome = Outcome::kFailed, .reason = std::move(why), .took = {}, .ours = true};
}

// What an operation of a connection came to: bytes, wait for an event, or an end.
struct Progress {
    std::size_t bytes = 0;
    std::uint32_t wait = 0;              // EPOLLIN or EPOLLOUT
    std::optional<ProbeResult> ended{};  // nothing more comes
};

Progress tls_progress(SSL* tls, int result) {
    const int saved = errno;
    switch (SSL_get_error(tls, result)) {
        case SSL_ERROR_NONE: return {.bytes = static_cast<std::size_t>(result)};
        case SSL_ERROR_WANT_READ: return {.wait = EPOLLIN};
        case SSL_ERROR_WANT_WRITE: return {.wait = EPOLLOUT};
        case SSL_ERROR_SYSCALL:
            if (saved != 0) {
                return {.ended = refused(saved)};
            }
            break;
        default: break;
    }
    return {.ended = ProbeResult{.outcome = Outcome::kFailed, .reason = "TLS failed", .took = {}}};
}

Progress plain_progress(ssize_t result, std::uint32_t event) {
    if (result > 0) {
        return {.bytes = static_cast<std::size_t>(result)};
    }
    if (result < 0 && (errno == EAGAIN || errno == EINTR)) {
        return {.wait = event};
    }
    if (result < 0) {
        return {.ended = refused(errno)};
    }
    return {.ended =
                ProbeResult{.outcome = Outcome::kFailed, .reason = "closed early", .took = {}}};
}

class EpollProbing final : public Probing {
  public:
    EpollProbing(datapath::Services& services, int epoll, SslContext context)
        : services_(services), epoll_(epoll), context_(std::move(context)) {}

    void set_done(Done done) override { done_ = std::move(done); }

    bool start(std::uint64_t id, std::uint32_t nic, const std::string& host, const ProbeSpec& spec,
               SteadyTime deadline) override {
        if (attempts_.size() >= limits::kProbesAtOnce) {
            return false;
        }
        Attempt attempt;
        attempt.id = id;
        attempt.spec = spec;
        attempt.began = std::chrono::steady_clock::now();
        attempt.deadline = deadline;
        if (spec.protocol != ProbeProtocol::kTcp) {
            attempt.request = request_of(spec, host);
        }
        if (auto ended = connect(attempt, nic)) {
            finish(attempt, *ended);
            return true;
        }
        const std::uint64_t number = ++last_;
        Attempt& kept = attempts_.emplace(number, std::move(attempt)).first->second;
        by_id_[id] = number;
        wait_for(number, kept, EPOLLOUT);
        return true;
    }

    void cancel(std::uint64_t id) override {
        if (const auto found = by_id_.find(id); found != by_id_.end()) {
            forget(found->second);
        }
    }

    void ready(std::uint64_t number, SteadyTime) override {
        const auto found = attempts_.find(number);
        if (found == attempts_.end()) {
            return;  // ended in this same turn
        }
        if (auto ended = go_on(number, found->second)) {
            end(number, *ended);
        }
    }

    SteadyTime expire(SteadyTime now) override {
        SteadyTime next = SteadyTime::max();
        std::vector<std::uint64_t> over;
        for (const auto& [number, attempt] : attempts_) {
            if (attempt.deadline <= now) {
                over.push_back(number);
            } else {
                next = std::min(next, attempt.deadline);
            }
        }
        for (const std::uint64_t number : over) {
            end(number,
                {.outcome = Outcome::kFailed, .reason = "no answer", .took = {}, .silent = true});
        }
        return next;
    }

  private:
    // Begins; a result when it has ended at once.
    std::optional<ProbeResult> connect(Attempt& attempt, std::uint32_t nic) {
        const auto alias = services_.alias(nic);
        auto fd = alias ? services_.socket(SOCK_STREAM) : std::unexpected(alias.error());
        if (!fd) {
            return unasked(fd.error().message);
        }
        attempt.fd = std::move(*fd);
        const int no_delay = 1;
        ::setsockopt(attempt.fd.get(), IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof(no_delay));
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(attempt.spec.port);
        to.sin_addr.s_addr = alias->to_be();
        if (::connect(attempt.fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0 &&
            errno != EINPROGRESS) {
            return errno == ECONNREFUSED ? refused(errno) : unasked(std::strerror(errno));
        }
        return std::nullopt;
    }

    void wait_for(std::uint64_t number, Attempt& attempt, std::uint32_t events) const {
        if (attempt.events == events) {
            return;
        }
        epoll_event event{};
        event.events = events;
        event.data.u64 = number;
        ::epoll_ctl(epoll_, attempt.events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, attempt.fd.get(),
                    &event);
        attempt.events = events;
    }

    // Takes as many steps as it can; a result at the end.
    std::optional<ProbeResult> go_on(std::uint64_t number, Attempt& attempt) {
        while (true) {
            const Step step = attempt.step;
            Progress progress = step == Step::kConnect     ? connected(attempt)
                                : step == Step::kHandshake ? shake_hands(attempt)
                                : step == Step::kWrite     ? write(attempt)
                                                           : read(attempt);
            if (progress.ended) {
                return std::move(progress.ended);
            }
            if (progress.wait != 0) {
                wait_for(number, attempt, progress.wait);
                return std::nullopt;
            }
        }
    }

    Progress connected(Attempt& attempt) {
        int error = 0;
        socklen_t length = sizeof(error);
        ::getsockopt(attempt.fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
        if (error != 0) {
            return {.ended = refused(error)};
        }
        if (attempt.spec.protocol == ProbeProtocol::kTcp) {
            return {.ended = ProbeResult{.outcome = Outcome::kUp, .reason = "answers", .took = {}}};
        }
        attempt.step = Step::kWrite;
        if (attempt.spec.protocol == ProbeProtocol::kHttps) {
            attempt.tls.reset(SSL_new(context_.get()));
            if (!attempt.tls || SSL_set_fd(attempt.tls.get(), attempt.fd.get()) != 1) {
                return {.ended = ProbeResult{
                            .outcome = Outcome::kFailed, .reason = "TLS failed", .took = {}}};
            }
            attempt.step = Step::kHandshake;
        }
        return {};
    }

    static Progress shake_hands(Attempt& attempt) {
        ERR_clear_error();
        errno = 0;
        Progress out = tls_progress(attempt.tls.get(), SSL_connect(attempt.tls.get()));
        if (out.bytes != 0) {
            attempt.step = Step::kWrite;
        }
        return out;
    }

    static Progress write(Attempt& attempt) {
        const auto rest = std::string_view(attempt.request).substr(attempt.written);
        Progress out;
        if (attempt.tls) {
            ERR_clear_error();
            errno = 0;
            out = tls_progress(attempt.tls.get(), SSL_write(attempt.tls.get(), rest.data(),
                                                            static_cast<int>(rest.size())));
        } else {
            out = plain_progress(::send(attempt.fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL),
                                 EPOLLOUT);
        }
        attempt.written += out.bytes;
        if (attempt.written == attempt.request.size()) {
            attempt.step = Step::kRead;
        }
        return out;
    }

    static Progress read(Attempt& attempt) {
        std::array<char, 1024> piece{};
        Progress out;
        if (attempt.tls) {
            ERR_clear_error();
            errno = 0;
            out = tls_progress(attempt.tls.get(),
                               SSL_read(attempt.tls.get(), piece.data(), piece.size()));
        } else {
            out = plain_progress(::recv(attempt.fd.get(), piece.data(), piece.size(), 0), EPOLLIN);
        }
        attempt.answer.append(piece.data(), out.bytes);
        const int status = status_of(attempt.answer);
        if (status > 0) {
            out.ended = ProbeResult{.outcome = status == kOk ? Outcome::kUp : Outcome::kDown,
                                    .reason = fmt::format("status {}", status),
                                    .took = {}};
        } else if (status < 0 || attempt.answer.size() > limits::kProbeAnswerBytes) {
            out.ended =
                ProbeResult{.outcome = Outcome::kFailed, .reason = "answer is no HTTP", .took = {}};
        }
        return out;
    }

    void forget(std::uint64_t number) {
        const auto found = attempts_.find(number);
        if (found != attempts_.end()) {
            by_id_.erase(found->second.id);
            attempts_.erase(found);
        }
    }

    void end(std::uint64_t number, const ProbeResult& result) {
        Attempt ended = std::move(attempts_.at(number));
        forget(number);
        by_id_.erase(ended.id);
        // a connection that answered ends as any other; one that did not leaves nothing behind
        if (result.outcome != Outcome::kUp) {
            const linger at_once{.l_onoff = 1, .l_linger = 0};
            ::setsockopt(ended.fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        }
        finish(ended, result);
    }

    void finish(const Attempt& attempt, ProbeResult result) {
        result.took = std::chrono::steady_clock::now() - attempt.began;
        if (done_) {
            done_(attempt.id, result);
        }
    }

    datapath::Services& services_;
    const int epoll_;
    SslContext context_;
    Done done_;
    std::uint64_t last_ = 0;
    std::map<std::uint64_t, Attempt> attempts_;
    std::map<std::uint64_t, std::uint64_t> by_id_;
};

}  // namespace

int status_of(std::string_view text) {
    constexpr std::string_view kVersion = "HTTP/1.";
    constexpr std::size_t kLineBytes = 12;  // HTTP/1.1 200
    const auto known = std::min(text.size(), kVersion.size());
    if (text.substr(0, known) != kVersion.substr(0, known)) {
        return -1;
    }
    if (text.size() <= kLineBytes) {
        return 0;
    }
    const auto digit = [&](std::size_t at) { return text[at] >= '0' && text[at] <= '9'; };
    const bool sound = digit(7) && text[8] == ' ' && digit(9) && digit(10) && digit(11) &&
                       text[9] != '0' && (text[12] == ' ' || text[12] == '\r' || text[12] == '\n');
    return sound ? (text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0') : -1;
}

Result<std::unique_ptr<Probing>> Probing::open(datapath::Services& services, int epoll) {
    SslContext context(SSL_CTX_new(TLS_client_method()));
    if (!context) {
        return fail(Code::kInternal, "make a TLS context");
    }
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
    // who is probed decides neither how long a step takes nor what it costs
    SSL_CTX_clear_mode(context.get(), SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_max_cert_list(context.get(), kMostCertificateBytes);
    if (SSL_CTX_set_cipher_list(context.get(), "DEFAULT:!kDHE") != 1) {
        return fail(Code::kInternal, "choose the ciphers of probes");
    }
    // writes end halfway where a socket is full, and go on from another place in memory
    SSL_CTX_set_mode(context.get(),
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return std::make_unique<EpollProbing>(services, epoll, std::move(context));
}

}  // namespace culvert::agent
