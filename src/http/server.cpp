// SPDX-License-Identifier: Apache-2.0
#include "http/server.hpp"

#include "http/connection.hpp"
#include "http/tls.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace culvert::http {

namespace net = boost::asio;
using boost::system::error_code;
using net::ip::tcp;

namespace {

constexpr auto kAcceptRetry = std::chrono::milliseconds(100);  // out of descriptors: try again

}  // namespace

class BeastServer final : public Server {
  public:
    explicit BeastServer(std::shared_ptr<Core> core) : core_(std::move(core)) {}
    BeastServer(const BeastServer&) = delete;
    BeastServer& operator=(const BeastServer&) = delete;
    ~BeastServer() override { stop(0); }

    Status listen();
    void start();
    std::uint16_t port() const override { return port_; }
    Status replace_certificate(const std::string& certificate_pem,
                               const std::string& key_pem) override;
    ServerStats stats() const override;
    void stop(unsigned grace_ms) override;

  private:
    net::awaitable<void> accept();
    void admit(Connection::Socket socket);

    std::shared_ptr<Core> core_;
    tcp::acceptor acceptor_{core_->context};
    net::steady_timer retry_{core_->context};
    net::executor_work_guard<net::io_context::executor_type> work_{core_->context.get_executor()};
    std::vector<std::jthread> threads_;
    std::uint16_t port_ = 0;
    std::atomic_flag stopped_;
};

Status BeastServer::listen() {
    error_code ec;
    const auto address = net::ip::make_address(core_->options.address, ec);
    if (ec) {
        return fail(Code::kInvalidArgument,
                    fmt::format("listen: '{}' is not an address", core_->options.address));
    }
    const tcp::endpoint endpoint(address, core_->options.port);
    acceptor_.open(endpoint.protocol(), ec);
    if (!ec) {
        acceptor_.set_option(tcp::acceptor::reuse_address(true), ec);
    }
    if (!ec) {
        acceptor_.bind(endpoint, ec);
    }
    if (!ec) {
        acceptor_.listen(net::socket_base::max_listen_connections, ec);
    }
    if (ec) {
        const std::string doing =
            fmt::format("listen on {}:{}", core_->options.address, core_->options.port);
        return std::unexpected(error_from_errno(ec.value(), doing));
    }
    port_ = acceptor_.local_endpoint(ec).port();
    return {};
}

void BeastServer::start() {
    net::co_spawn(core_->context, accept(), net::detached);
    for (unsigned i = 0; i < std::max(1U, core_->options.threads); ++i) {
        threads_.emplace_back([core = core_.get()] { core->context.run(); });
    }
}

net::awaitable<void> BeastServer::accept() {
    while (!core_->stopping) {
        error_code ec;
        Connection::Socket socket(net::make_strand(core_->context));
        co_await acceptor_.async_accept(socket, net::redirect_error(net::use_awaitable, ec));
        if (ec == net::error::operation_aborted) {
            break;
        }
        if (ec) {
            spdlog::warn("http: accept failed: {}", ec.message());
            retry_.expires_after(kAcceptRetry);
            co_await retry_.async_wait(net::redirect_error(net::use_awaitable, ec));
            continue;
        }
        ++core_->accepted;
        if (core_->connections >= core_->options.limits.connections) {
            ++core_->refused_limit;
            continue;  // closes
        }
        admit(std::move(socket));
    }
}

void BeastServer::admit(Connection::Socket socket) {
    auto strand = socket.get_executor();
    auto tls = core_->tls.with([](const auto& current) { return current; });
    auto connection = std::make_shared<Connection>(core_, std::move(tls), std::move(socket));
    ++core_->connections;
    core_->open.with([&](auto& open) { open.insert(connection); });
    net::co_spawn(strand, connection->run(),
                  [core = core_.get(), connection](const std::exception_ptr& failure) {
                      if (failure) {
                          spdlog::error("http: connection ended by an exception");
                      }
                      core->open.with([&](auto& open) { open.erase(connection); });
                      if (--core->connections == 0 && core->stopping) {
                          core->all_closed.release();
                      }
                  });
}

Status BeastServer::replace_certificate(const std::string& certificate_pem,
                                        const std::string& key_pem) {
    auto context = server_context(certificate_pem, key_pem);
    if (!context) {
        return std::unexpected(context.error());
    }
    core_->tls.with([&](auto& current) { current = std::move(*context); });
    return {};
}

ServerStats BeastServer::stats() const {
    return {core_->connections,       core_->accepted,    core_->requests,
            core_->refused_limit,     core_->cut_timeout, core_->cut_too_large,
            core_->failed_handshakes, core_->malformed};
}

void BeastServer::stop(unsigned grace_ms) {
    if (stopped_.test_and_set()) {
        return;
    }
    core_->stopping = true;
    net::post(core_->context, [this] {
        error_code ec;
        acceptor_.close(ec);
        retry_.cancel();
    });
    const auto close_all = [this](bool only_idle) {
        core_->open.with([&](auto& open) {
            for (const auto& weak : open) {
                if (const auto connection = weak.lock()) {
                    connection->close(only_idle);
                }
            }
        });
    };
    const auto wait = [this](std::chrono::milliseconds at_most) {
        return core_->connections == 0 || core_->all_closed.try_acquire_for(at_most);
    };
    close_all(true);
    if (!wait(std::chrono::milliseconds(grace_ms))) {
        close_all(false);
        wait(std::chrono::milliseconds(200));  // what waits for its handler now ends without it
    }
    work_.reset();
    core_->context.stop();
    threads_.clear();
    error_code ec;
    acceptor_.close(ec);  // no thread is left: now certainly
}

Result<std::unique_ptr<Server>> serve(const ServerOptions& options, Handler handler) {
    auto tls = server_context(options.certificate_pem, options.key_pem);
    if (!tls) {
        return std::unexpected(tls.error());
    }
    auto core = std::make_shared<Core>();
    core->options = options;
    core->handler = std::move(handler);
    core->tls.with([&](auto& current) { current = std::move(*tls); });
    auto server = std::make_unique<BeastServer>(std::move(core));
    CULVERT_TRY_STATUS(server->listen());
    server->start();
    return server;
}

}  // namespace culvert::http
