// SPDX-License-Identifier: Apache-2.0
#include "http/connection.hpp"

#include "base/limits.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

namespace culvert::http {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace ssl = boost::asio::ssl;
using boost::system::error_code;
template <typename T>
using Awaitable = net::awaitable<T, Connection::Strand>;

namespace {

constexpr net::use_awaitable_t<Connection::Strand> kAwait;
constexpr std::size_t kReadChunk = 8 * 1024;

// What a Respond shares between its copies: answers once, with 500 when the last copy goes unused.
template <typename Completion>
class Pending {
  public:
    Pending(std::shared_ptr<Core> core, Connection::Strand strand, Completion completion)
        : core_(std::move(core)), strand_(std::move(strand)), completion_(std::move(completion)) {}
    Pending(const Pending&) = delete;
    Pending& operator=(const Pending&) = delete;
    ~Pending() {
        complete(refusal(500, "InternalServerError", "the request ended without an answer"));
    }
    void complete(Response response) {
        if (done_.exchange(true)) {
            return;
        }
        net::post(strand_,
                  [completion = std::move(completion_), response = std::move(response)]() mutable {
                      std::move(completion)(std::move(response));
                  });
    }

  private:
    std::shared_ptr<Core> core_;  // INVARIANT: first, the strand's context lives as long as this
    Connection::Strand strand_;
    Completion completion_;
    std::atomic<bool> done_{false};
};

std::string_view reason(int status) {
    return beast::http::obsolete_reason(static_cast<beast::http::status>(status));
}

// A value that would break the message apart never reaches the wire (RFC 9110 5.5).
bool safe_field(std::string_view text) {
    return std::ranges::none_of(text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

}  // namespace

Response refusal(int status, std::string_view code, std::string_view message) {
    return Response{status,
                    {{"Content-Type", "application/json; charset=utf-8"}},
                    fmt::format(R"({{"error":{{"code":"{}","message":"{}"}}}})", code, message)};
}

std::string serialize(const Response& response, bool keep_alive, bool head) {
    std::string out;
    out.reserve(256 + 64 * response.headers.size() + (head ? 0 : response.body.size()));
    fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", response.status,
                   reason(response.status));
    for (const auto& [name, value] : response.headers) {
        if (safe_field(name) && safe_field(value)) {
            fmt::format_to(std::back_inserter(out), "{}: {}\r\n", name, value);
        }
    }
    const bool bodiless = response.status == 204 || response.status == 304;  // RFC 9110 6.4.1
    if (!bodiless) {
        fmt::format_to(std::back_inserter(out), "Content-Length: {}\r\n", response.body.size());
    }
    out += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
    if (!bodiless && !head) {
        out += response.body;
    }
    return out;
}

Connection::Connection(std::shared_ptr<Core> core, std::shared_ptr<ssl::context> tls, Socket socket)
    : owner_(core),
      core_(*core),
      tls_(std::move(tls)),
      stream_(std::move(socket), *tls_),
      buffer_(core_.options.limits.header_bytes + 64 * 1024) {
    error_code ec;
    auto& tcp = stream_.next_layer().socket();
    peer_ = tcp.remote_endpoint(ec).address().to_string();
    tcp.set_option(net::ip::tcp::no_delay(true), ec);
}

void Connection::close(bool only_idle) {
    net::post(stream_.get_executor(), [self = shared_from_this(), only_idle] {
        if (!only_idle || self->idle_) {
            self->stream_.next_layer().close();
        }
    });
}

bool Connection::stopping() const { return core_.stopping; }

Awaitable<void> Connection::run() {
    const auto self = shared_from_this();
    if (co_await handshake()) {
        bool more = true;
        while (more && !stopping()) {
            more = co_await wait_for_request() && co_await exchange();
        }
        // our close_notify, so that clients tell an end from an attack; theirs is not waited for
        // (RFC 8446 6.1)
        error_code ec;
        SSL_set_shutdown(stream_.native_handle(), SSL_RECEIVED_SHUTDOWN);
        stream_.next_layer().expires_after(limits::kHttpLingerTimeout);
        co_await stream_.async_shutdown(net::redirect_error(kAwait, ec));
        stream_.next_layer().socket().shutdown(net::socket_base::shutdown_send, ec);
    }
    stream_.next_layer().close();
}

Awaitable<bool> Connection::handshake() {
    error_code ec;
    stream_.next_layer().expires_after(core_.options.limits.handshake);
    co_await stream_.async_handshake(ssl::stream_base::server, net::redirect_error(kAwait, ec));
    if (ec == beast::error::timeout) {
        ++core_.cut_timeout;
    } else if (ec) {
        ++core_.failed_handshakes;
    }
    co_return !ec;
}

// Waits for the first byte of the next request; silence is allowed for the idle time only.
Awaitable<bool> Connection::wait_for_request() {
    if (buffer_.size() > 0) {
        co_return true;
    }
    error_code ec;
    idle_ = true;
    stream_.next_layer().expires_after(core_.options.limits.idle);
    const std::size_t n = co_await stream_.async_read_some(buffer_.prepare(kReadChunk),
                                                           net::redirect_error(kAwait, ec));
    idle_ = false;
    buffer_.commit(n);
    core_.cut_timeout += ec == beast::error::timeout ? 1 : 0;
    co_return !ec;
}

Awaitable<bool> Connection::exchange() {
    const auto& limits = core_.options.limits;
    Parser parser;
    parser.header_limit(static_cast<std::uint32_t>(limits.header_bytes));
    parser.body_limit(limits.body_bytes);
    error_code ec;
    stream_.next_layer().expires_after(limits.header);
    co_await beast::http::async_read_header(stream_, buffer_, parser,
                                            net::redirect_error(kAwait, ec));
    if (ec) {
        co_await refuse_unreadable(ec);
        co_return false;
    }
    const auto& fields = parser.get().base();
    if (static_cast<std::size_t>(std::distance(fields.begin(), fields.end())) >
        limits.header_count) {
        ++core_.cut_too_large;
        co_await refuse(431, "RequestHeaderFieldsTooLarge", "the request has too many headers");
        co_return false;
    }
    if (!co_await read_body(parser)) {
        co_return false;
    }
    auto request = to_request(parser);
    if (!request) {
        ++core_.malformed;
        co_await refuse(400, "InvalidRequestUri", request.error().message);
        co_return false;
    }
    ++core_.requests;
    auto response = co_await ask(*request);
    const bool keep_alive = parser.keep_alive() && !stopping();
    const bool head = request->method == "HEAD";
    co_return co_await write(std::move(response), keep_alive, head) && keep_alive;
}

Awaitable<bool> Connection::read_body(Parser& parser) {
    error_code ec;
    stream_.next_layer().expires_after(core_.options.limits.body);
    if (!parser.is_done() &&
        beast::iequals(parser.get()[beast::http::field::expect], "100-continue")) {
        static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
        co_await net::async_write(stream_, net::buffer(kContinue), net::redirect_error(kAwait, ec));
    }
    if (!ec && !parser.is_done()) {
        co_await beast::http::async_read(stream_, buffer_, parser, net::redirect_error(kAwait, ec));
    }
    if (ec) {
        co_await refuse_unreadable(ec);
    }
    co_return !ec;
}

Result<Request> Connection::to_request(Parser& parser) const {
    auto& message = parser.get();
    auto target = parse_target(std::string_view(message.target()));
    if (!target) {
        return std::unexpected(target.error());
    }
    Request request;
    request.method = std::string_view(message.method_string());
    request.path = std::move(target->path);
    request.query = std::move(target->query);
    request.target = std::string_view(message.target());
    for (const auto& field : message.base()) {
        request.headers.emplace_back(std::string_view(field.name_string()),
                                     std::string_view(field.value()));
    }
    request.host = find_header(request.headers, "host");
    if (request.host.empty() && message.version() >= 11) {  // RFC 9112 3.2
        return fail(Code::kInvalidArgument, "the host header is missing");
    }
    request.body = std::move(message.body());
    request.peer = peer_;
    return request;
}

// Runs the handler and waits, without a thread, for its answer.
Awaitable<Response> Connection::ask(const Request& request) {
    co_return co_await net::async_initiate<decltype(kAwait), void(Response)>(
        [this, &request](auto completion) {
            using State = Pending<std::decay_t<decltype(completion)>>;
            auto state = std::make_shared<State>(owner_.lock(), stream_.get_executor(),
                                                 std::move(completion));
            try {
                core_.handler(request,
                              [state](Response response) { state->complete(std::move(response)); });
            } catch (const std::exception& e) {
                spdlog::error("http: handler of {} {} failed: {}", request.method, request.path,
                              e.what());
                state->complete(
                    refusal(500, "InternalServerError", "the request could not be handled"));
            }
        },
        kAwait);
}

Awaitable<bool> Connection::write(Response response, bool keep_alive, bool head) {
    const std::string wire = serialize(response, keep_alive, head);
    error_code ec;
    stream_.next_layer().expires_after(core_.options.limits.write);
    co_await net::async_write(stream_, net::buffer(wire), net::redirect_error(kAwait, ec));
    core_.cut_timeout += ec == beast::error::timeout ? 1 : 0;
    co_return !ec;
}

// Answers what could not be read, where an answer can still arrive.
Awaitable<void> Connection::refuse_unreadable(error_code ec) {
    using beast::http::error;
    if (ec == beast::error::timeout) {
        ++core_.cut_timeout;  // the stream is closed
    } else if (ec == error::body_limit) {
        ++core_.cut_too_large;
        co_await refuse(
            413, "RequestEntityTooLarge",
            fmt::format("the body is larger than {} bytes", core_.options.limits.body_bytes));
    } else if (ec == error::header_limit || ec == error::buffer_overflow) {
        ++core_.cut_too_large;
        co_await refuse(431, "RequestHeaderFieldsTooLarge",
                        fmt::format("the request's headers are larger than {} bytes",
                                    core_.options.limits.header_bytes));
    } else if (ec.category() == beast::http::make_error_code(error::bad_method).category() &&
               ec != error::end_of_stream && ec != error::partial_message) {
        ++core_.malformed;
        co_await refuse(400, "BadRequest", "the request is not well-formed http/1.1");
    }
}

// Answers, then reads and throws away what is still coming: closing with unread data resets the
// connection and may take the answer with it (RFC 9112 9.6).
Awaitable<void> Connection::refuse(int status, std::string_view code, std::string_view message) {
    auto response = refusal(status, code, message);
    if (core_.options.refused) {
        core_.options.refused(response);
    }
    if (!co_await write(std::move(response), false, false)) {
        co_return;
    }
    error_code ec;
    std::size_t drained = 0;
    stream_.next_layer().expires_after(limits::kHttpLingerTimeout);
    buffer_.consume(buffer_.size());
    while (!ec && drained < limits::kHttpLingerBytes && !stopping()) {
        idle_ = true;
        drained += co_await stream_.async_read_some(buffer_.prepare(kReadChunk),
                                                    net::redirect_error(kAwait, ec));
    }
    idle_ = false;
}

}  // namespace culvert::http
