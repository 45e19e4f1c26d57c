// SPDX-License-Identifier: Apache-2.0
#include "http/client.hpp"

#include "http/tls.hpp"

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <fmt/format.h>
#include <openssl/ssl.h>

#include <poll.h>

#include <array>
#include <optional>

namespace culvert::http {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace ssl = boost::asio::ssl;
using boost::system::error_code;
using net::ip::tcp;

namespace {

constexpr std::size_t kAnswerBytes = 64 * 1024 * 1024;
constexpr std::uint32_t kAnswerHeaderBytes = 64 * 1024;

struct Authority {
    std::string host;
    std::string port;
    std::string header;  // as the Host header shows it
};

// https://HOST[:PORT][/], HOST a name, an IPv4 address, or an IPv6 address in brackets (RFC
// 3986 3.2.2).
Result<Authority> parse_base(std::string_view url) {
    static constexpr std::string_view kScheme = "https://";
    if (!url.starts_with(kScheme)) {
        return fail(Code::kInvalidArgument, fmt::format("'{}' is not an https url", url), "url");
    }
    url.remove_prefix(kScheme.size());
    url = url.substr(0, url.find('/'));
    Authority out{std::string(url), "443", std::string(url)};
    const auto bracket = url.find(']');
    const auto colon = url.find(':', bracket == url.npos ? 0 : bracket);
    if (colon != url.npos) {
        out.port = url.substr(colon + 1);
        out.host = url.substr(0, colon);
    }
    if (out.host.starts_with('[') && out.host.ends_with(']')) {
        out.host = out.host.substr(1, out.host.size() - 2);
    }
    const bool digits = out.port.find_first_not_of("0123456789") == std::string::npos;
    if (out.host.empty() || out.port.empty() || out.port.size() > 5 || !digits) {
        return fail(Code::kInvalidArgument, fmt::format("'{}' is not HOST:PORT", url), "url");
    }
    return out;
}

bool may_repeat(std::string_view method) {  // RFC 9110 9.2.2
    return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE";
}

}  // namespace

class BeastClient final : public Client {
  public:
    BeastClient(ClientOptions options, Authority authority, std::shared_ptr<ssl::context> tls)
        : options_(std::move(options)), authority_(std::move(authority)), tls_(std::move(tls)) {}

    Result<Response> send(std::string method, std::string target, Headers headers,
                          std::string body) override {
        beast::http::request<beast::http::string_body> request;
        request.method_string(method);
        request.target(target);
        request.version(11);
        request.set(beast::http::field::host, authority_.header);
        for (const auto& [name, value] : headers) {
            request.insert(name, value);
        }
        if (!body.empty() || method == "PUT" || method == "POST" || method == "PATCH") {
            request.body() = std::move(body);
            request.content_length(request.body().size());
        }
        const bool reused = stream_.has_value() && still_open();
        auto answer = exchange(request);
        if (!answer && reused && answer.error().code == Code::kUnavailable && may_repeat(method)) {
            answer = exchange(request);
        }
        return answer;
    }

  private:
    using Stream = ssl::stream<beast::tcp_stream>;
    using Message = beast::http::request<beast::http::string_body>;

    // An idle connection has nothing to say: whatever is readable on it is its end.
    bool still_open() {
        pollfd p{stream_->next_layer().socket().native_handle(), POLLIN, 0};
        if (SSL_pending(stream_->native_handle()) == 0 && poll(&p, 1, 0) == 0) {
            return true;
        }
        stream_.reset();
        return false;
    }

    // Runs one coroutine to its end; its deadlines bound it.
    template <typename F>
    Result<Response> run(F&& body) {
        Result<Response> out = fail(Code::kInternal, "http exchange did not run");
        net::co_spawn(context_, std::forward<F>(body),
                      [&](const std::exception_ptr& e, Result<Response> got) {
                          out = e ? fail(Code::kInternal, "http exchange failed") : std::move(got);
                      });
        context_.restart();
        context_.run();
        return out;
    }

    Result<Response> exchange(const Message& request) {
        auto out = run([this, &request]() -> net::awaitable<Result<Response>> {
            const auto deadline = std::chrono::steady_clock::now() + options_.timeout;
            if (!stream_) {
                auto connected = co_await open(deadline);
                if (!connected) {
                    co_return std::unexpected(connected.error());
                }
            }
            co_return co_await talk(request, deadline);
        });
        if (!out) {
            stream_.reset();
        }
        return out;
    }

    net::awaitable<Status> open(std::chrono::steady_clock::time_point deadline) {
        error_code ec;
        tcp::resolver resolver(context_);
        const auto addresses = co_await resolver.async_resolve(
            authority_.host, authority_.port, net::redirect_error(net::use_awaitable, ec));
        if (ec) {
            co_return failure("resolve", ec);
        }
        stream_.emplace(context_, *tls_);
        buffer_.clear();
        if (net::ip::make_address(authority_.host, ec); ec) {  // RFC 6066 3: names only
            SSL_set_tlsext_host_name(stream_->native_handle(), authority_.host.c_str());
        }
        stream_->set_verify_callback(ssl::host_name_verification(authority_.host));
        stream_->next_layer().expires_at(deadline);
        co_await stream_->next_layer().async_connect(addresses,
                                                     net::redirect_error(net::use_awaitable, ec));
        if (ec) {
            co_return failure("connect", ec);
        }
        stream_->next_layer().socket().set_option(tcp::no_delay(true), ec);
        co_await stream_->async_handshake(ssl::stream_base::client,
                                          net::redirect_error(net::use_awaitable, ec));
        if (ec) {
            co_return failure("tls handshake", ec);
        }
        co_return Status{};
    }

    net::awaitable<Result<Response>> talk(const Message& request,
                                          std::chrono::steady_clock::time_point deadline) {
        error_code ec;
        stream_->next_layer().expires_at(deadline);
        co_await beast::http::async_write(*stream_, request,
                                          net::redirect_error(net::use_awaitable, ec));
        if (ec) {
            co_return failure("send", ec);
        }
        beast::http::response_parser<beast::http::string_body> parser;
        parser.header_limit(kAnswerHeaderBytes);
        parser.body_limit(kAnswerBytes);
        parser.skip(request.method() == beast::http::verb::head);
        co_await beast::http::async_read(*stream_, buffer_, parser,
                                         net::redirect_error(net::use_awaitable, ec));
        if (ec) {
            co_return failure("receive", ec);
        }
        const bool keep = parser.keep_alive();
        auto message = parser.release();
        Response out;
        out.status = static_cast<int>(message.result_int());
        for (const auto& field : message.base()) {
            out.headers.emplace_back(std::string_view(field.name_string()),
                                     std::string_view(field.value()));
        }
        out.body = std::move(message.body());
        if (!keep) {
            stream_.reset();
        }
        co_return out;
    }

    std::unexpected<Error> failure(std::string_view doing, error_code ec) {
        const auto where = fmt::format("{} {}", doing, authority_.header);
        if (ec == beast::error::timeout) {
            return fail(Code::kTimeout,
                        fmt::format("{}: no answer within {} ms", where, options_.timeout.count()));
        }
        if (stream_ && SSL_get_verify_result(stream_->native_handle()) != X509_V_OK) {
            const auto why =
                X509_verify_cert_error_string(SSL_get_verify_result(stream_->native_handle()));
            return fail(Code::kUnauthenticated,
                        fmt::format("{}: certificate not trusted: {}", where, why));
        }
        return fail(Code::kUnavailable, fmt::format("{}: {}", where, ec.message()));
    }

    ClientOptions options_;
    Authority authority_;
    std::shared_ptr<ssl::context> tls_;
    net::io_context context_{1};
    std::optional<Stream> stream_;
    beast::flat_buffer buffer_;
};

Result<std::unique_ptr<Client>> connect(const ClientOptions& options) {
    auto authority = parse_base(options.base_url);
    if (!authority) {
        return std::unexpected(authority.error());
    }
    auto tls = client_context(options.ca_pem);
    if (!tls) {
        return std::unexpected(tls.error());
    }
    return std::make_unique<BeastClient>(options, std::move(*authority), std::move(*tls));
}

}  // namespace culvert::http
