// SPDX-License-Identifier: Apache-2.0
// One server connection and what all of a server's connections share. Internal to http/.
#pragma once

#include "base/guarded.hpp"
#include "http/server.hpp"

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <atomic>
#include <memory>
#include <semaphore>
#include <set>

namespace culvert::http {

class Connection;

// Internally synchronized. Outlives its connections: the server and every Respond not yet called
// hold it.
struct Core {
    ServerOptions options;
    Handler handler;
    Guarded<std::shared_ptr<boost::asio::ssl::context>> tls;
    Guarded<std::set<std::weak_ptr<Connection>, std::owner_less<>>> open;
    std::binary_semaphore all_closed{0};  // released when the last connection ends during stop
    std::atomic<bool> stopping{false};
    std::atomic<std::uint64_t> connections{0};
    std::atomic<std::uint64_t> accepted{0};
    std::atomic<std::uint64_t> requests{0};
    std::atomic<std::uint64_t> refused_limit{0};
    std::atomic<std::uint64_t> cut_timeout{0};
    std::atomic<std::uint64_t> cut_too_large{0};
    std::atomic<std::uint64_t> failed_handshakes{0};
    std::atomic<std::uint64_t> malformed{0};
    // INVARIANT: last, so that coroutines destroyed with it still find the members above.
    boost::asio::io_context context;
};

// Strand-bound, but for close().
class Connection : public std::enable_shared_from_this<Connection> {
  public:
    using Strand = boost::asio::strand<boost::asio::io_context::executor_type>;
    using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, Strand>;

    // `core` is kept alive by whoever runs its io_context.
    Connection(std::shared_ptr<Core> core, std::shared_ptr<boost::asio::ssl::context> tls,
               Socket socket);

    // Handshake, then request after request until either side has enough.
    boost::asio::awaitable<void, Strand> run();

    // From any thread: ends the connection now, or only when no request is under way.
    void close(bool only_idle);

  private:
    using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

    boost::asio::awaitable<bool, Strand> handshake();
    boost::asio::awaitable<bool, Strand> wait_for_request();
    boost::asio::awaitable<bool, Strand> exchange();
    boost::asio::awaitable<bool, Strand> read_body(Parser& parser);
    boost::asio::awaitable<Response, Strand> ask(const Request& request);
    boost::asio::awaitable<bool, Strand> write(Response response, bool keep_alive, bool head);
    boost::asio::awaitable<void, Strand> refuse(int status, std::string_view code,
                                                std::string_view message);
    boost::asio::awaitable<void, Strand> refuse_unreadable(boost::system::error_code ec);
    Result<Request> to_request(Parser& parser) const;
    // Not inline: clang 19 reads the flag from the wrong place of a coroutine's frame when it
    // instruments the load (ASan with UBSan).
    [[gnu::noinline]] bool stopping() const;

    std::weak_ptr<Core> owner_;
    Core& core_;
    std::shared_ptr<boost::asio::ssl::context> tls_;
    boost::asio::ssl::stream<boost::beast::basic_stream<boost::asio::ip::tcp, Strand>> stream_;
    boost::beast::flat_buffer buffer_;
    std::string peer_;
    bool idle_ = false;
};

// The refusals that are made here and not by the handler carry ARM's error body too (arm-contract
// 7).
Response refusal(int status, std::string_view code, std::string_view message);

// Status line, headers and body as they go on the wire. `head`: the body's length without the body.
std::string serialize(const Response& response, bool keep_alive, bool head);

}  // namespace culvert::http
