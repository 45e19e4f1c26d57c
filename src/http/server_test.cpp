// SPDX-License-Identifier: Apache-2.0
#include "http/http.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>

namespace culvert::http {
namespace {

struct Pair {
    std::string certificate;
    std::string key;
};

template <typename F>
std::string pem(F&& write) {
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new(BIO_s_mem()), BIO_free_all);
    EXPECT_EQ(write(bio.get()), 1);
    char* data = nullptr;
    const long n = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(n)};
}

// Self-signed for 127.0.0.1.
Pair make_certificate(const std::string& name) {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"),
                                                                  EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> cert(X509_new(), X509_free);
    X509_set_version(cert.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert.get()), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert.get()), 3600);
    X509_set_pubkey(cert.get(), key.get());
    X509_NAME* subject = X509_get_subject_name(cert.get());
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(cert.get(), subject);
    X509_EXTENSION* san =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
    X509_add_ext(cert.get(), san, -1);
    X509_EXTENSION_free(san);
    X509_sign(cert.get(), key.get(), EVP_sha256());
    return {pem([&](BIO* b) { return PEM_write_bio_X509(b, cert.get()); }), pem([&](BIO* b) {
                return PEM_write_bio_PrivateKey(b, key.get(), nullptr, nullptr, 0, nullptr,
                                                nullptr);
            })};
}

// With a pass phrase, which nobody is there to type.
std::string encrypted_key() {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"),
                                                                  EVP_PKEY_free);
    unsigned char phrase[] = "phrase";
    return pem([&](BIO* b) {
        return PEM_write_bio_PrivateKey(b, key.get(), EVP_aes_128_cbc(), phrase, 6, nullptr,
                                        nullptr);
    });
}

const Pair& certificate() {
    static const Pair pair = make_certificate("one");
    return pair;
}

// A TCP connection on loopback that never waits longer than its receive timeout.
class Raw {
  public:
    explicit Raw(std::uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
        const timeval patience{20, 0};
        setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0;
    }
    Raw(const Raw&) = delete;
    Raw& operator=(const Raw&) = delete;
    ~Raw() { close(fd_); }

    bool connected() const { return connected_; }
    int fd() const { return fd_; }
    // Reads to the end; true when the peer ended or reset the connection, false when it only stayed
    // silent.
    bool ended() {
        char scratch[4096];
        ssize_t n = 0;
        do {
            n = recv(fd_, scratch, sizeof(scratch), 0);
        } while (n > 0);
        return n == 0 || errno == ECONNRESET || errno == EPIPE;
    }

  private:
    int fd_;
    bool connected_ = false;
};

class Tls {
  public:
    explicit Tls(std::uint16_t port) : raw_(port) {
        SSL_set_fd(ssl_.get(), raw_.fd());
        ready_ = SSL_connect(ssl_.get()) == 1;
    }
    bool ready() const { return ready_; }
    bool write(std::string_view text) {
        return SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())) > 0;
    }
    // Everything until the peer ends the stream.
    std::string read_all() {
        std::string out;
        char scratch[4096];
        int n = 0;
        while ((n = SSL_read(ssl_.get(), scratch, sizeof(scratch))) > 0) {
            out.append(scratch, static_cast<std::size_t>(n));
        }
        ended_ = SSL_get_error(ssl_.get(), n) != SSL_ERROR_WANT_READ;
        return out;
    }
    // Reads until `count` occurrences of `mark` have arrived, or the end.
    std::string read_until(std::string_view mark, std::size_t count) {
        std::string out;
        char scratch[4096];
        std::size_t found = 0;
        while (found < count) {
            const int n = SSL_read(ssl_.get(), scratch, sizeof(scratch));
            if (n <= 0) {
                break;
            }
            out.append(scratch, static_cast<std::size_t>(n));
            found = 0;
            for (auto at = out.find(mark); at != out.npos; at = out.find(mark, at + 1)) {
                ++found;
            }
        }
        return out;
    }
    bool ended() const { return ended_; }
    std::string peer_name() {
        const std::unique_ptr<X509, decltype(&X509_free)> cert(
            SSL_get1_peer_certificate(ssl_.get()), X509_free);
        char name[64] = {};
        X509_NAME_get_text_by_NID(X509_get_subject_name(cert.get()), NID_commonName, name,
                                  sizeof(name));
        return name;
    }
    SSL* handle() { return ssl_.get(); }

  private:
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_{SSL_CTX_new(TLS_client_method()),
                                                               SSL_CTX_free};
    std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{SSL_new(context_.get()), SSL_free};
    Raw raw_;
    bool ready_ = false;
    bool ended_ = false;
};

// Answers with what it was asked.
void echo(const Request& request, const Respond& respond) {
    std::string text =
        fmt::format("{} {} body={} ", request.method, request.path, request.body.size());
    for (const auto& [name, value] : request.query) {
        text += fmt::format("{}={};", name, value);
    }
    respond({200, {{"Content-Type", "text/plain"}, {"X-Peer", request.peer}}, text + "|end"});
}

std::unique_ptr<Server> start(const ServerLimits& limits, Handler handler = echo) {
    ServerOptions options;
    options.certificate_pem = certificate().certificate;
    options.key_pem = certificate().key;
    options.limits = limits;
    auto server = serve(options, std::move(handler));
    EXPECT_TRUE(server.has_value()) << server.error().message;
    return std::move(*server);
}

std::unique_ptr<Client> client_of(const Server& server,
                                  std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
    auto client = connect({.base_url = fmt::format("https://127.0.0.1:{}", server.port()),
                           .ca_pem = certificate().certificate,
                           .timeout = timeout});
    EXPECT_TRUE(client.has_value());
    return std::move(*client);
}

// The counts once every connection has ended: a peer may see its end before it is counted.
ServerStats final_stats(const Server& server) {
    while (server.stats().connections != 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return server.stats();
}

TEST(Server, AnswersOnOneKeptConnection) {
    const auto server = start({});
    const auto client = client_of(*server);
    for (int i = 0; i < 20; ++i) {
        const auto answer =
            client->send("GET", "/a%20b/c?api-version=1&%24filter=x+eq+%27y%27", {}, "");
        ASSERT_TRUE(answer.has_value()) << answer.error().message;
        EXPECT_EQ(answer->status, 200);
        EXPECT_EQ(answer->body, "GET /a b/c body=0 api-version=1;$filter=x eq 'y';|end");
        EXPECT_EQ(find_header(answer->headers, "x-peer"), "127.0.0.1");
    }
    EXPECT_EQ(server->stats().accepted, 1U);
    EXPECT_EQ(server->stats().requests, 20U);
}

TEST(Server, TakesABodyAtTheLimitAndRefusesOneBeyond) {
    const auto server = start({.body_bytes = 100'000});
    const auto client = client_of(*server);
    auto answer = client->send("PUT", "/x", {}, std::string(100'000, 'a'));
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(answer->body, "PUT /x body=100000 |end");
    answer = client->send("PUT", "/x", {}, std::string(100'001, 'a'));
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(answer->status, 413);
    EXPECT_NE(answer->body.find("RequestEntityTooLarge"), std::string::npos);
    EXPECT_EQ(server->stats().cut_too_large, 1U);
}

TEST(Server, TheDefaultBodyLimitIsFourMebibytes) {
    const auto server = start({});
    const auto client = client_of(*server);
    auto answer = client->send("PUT", "/x", {}, std::string(4 * 1024 * 1024, 'a'));
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(answer->status, 200);
    answer = client->send("PUT", "/x", {}, std::string(4 * 1024 * 1024 + 1, 'a'));
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(answer->status, 413);
}

TEST(Server, RefusesAChunkedBodyThatGrowsBeyondTheLimit) {
    const auto server = start({.body_bytes = 1000});
    Tls tls(server->port());
    ASSERT_TRUE(tls.ready());
    ASSERT_TRUE(tls.write("PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(tls.write(fmt::format("200\r\n{}\r\n", std::string(512, 'b'))));
    }
    EXPECT_NE(tls.read_until("larger than", 1).find("413"), std::string::npos);
}

TEST(Server, RefusesHeadersBeyondTheirSizeAndNumber) {
    const auto server = start({.header_bytes = 2000, .header_count = 10});
    Tls big(server->port());
    ASSERT_TRUE(big.write(
        fmt::format("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", std::string(2000, 'x'))));
    EXPECT_TRUE(big.read_until("\r\n\r\n{", 1).starts_with("HTTP/1.1 431"));
    for (const int count : {9, 10}) {  // and Host
        std::string request = "GET / HTTP/1.1\r\nHost: a\r\n";
        for (int i = 0; i < count; ++i) {
            request += fmt::format("X{}: y\r\n", i);
        }
        Tls many(server->port());
        ASSERT_TRUE(many.write(request + "\r\n"));
        EXPECT_TRUE(many.read_until("\r\n\r\n", 1)
                        .starts_with(count == 9 ? "HTTP/1.1 200" : "HTTP/1.1 431"));
    }
    EXPECT_EQ(server->stats().cut_too_large, 2U);
}

TEST(Server, AnEndlessHeaderLineIsCut) {
    const auto server = start({.header_bytes = 4000});
    Tls tls(server->port());
    ASSERT_TRUE(tls.write("GET / HTTP/1.1\r\nX: "));
    const std::string chunk(1000, 'x');
    for (int i = 0; i < 100 && tls.write(chunk); ++i) {
    }
    EXPECT_TRUE(tls.read_until("\r\n\r\n{", 1).starts_with("HTTP/1.1 431"));
}

TEST(Server, CutsAClientThatNeverFinishesItsHeaders) {
    const auto server = start({.header = std::chrono::milliseconds(100)});
    Tls tls(server->port());
    ASSERT_TRUE(tls.write("GET / HTTP/1.1\r\nHost: a\r\n"));
    EXPECT_EQ(tls.read_all(), "");
    EXPECT_TRUE(tls.ended());
    EXPECT_EQ(final_stats(*server).cut_timeout, 1U);
}

TEST(Server, CutsAClientThatNeverFinishesItsBody) {
    const auto server = start({.body = std::chrono::milliseconds(100)});
    Tls tls(server->port());
    ASSERT_TRUE(tls.write("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"));
    EXPECT_EQ(tls.read_all(), "");
    EXPECT_TRUE(tls.ended());
    EXPECT_EQ(final_stats(*server).cut_timeout, 1U);
}

TEST(Server, CutsASilentHandshakeAndAnIdleConnection) {
    const auto server = start(
        {.handshake = std::chrono::milliseconds(100), .idle = std::chrono::milliseconds(100)});
    Raw half_open(server->port());
    EXPECT_TRUE(half_open.ended());
    Tls idle(server->port());
    ASSERT_TRUE(idle.ready());
    EXPECT_EQ(idle.read_all(), "");
    EXPECT_TRUE(idle.ended());
    EXPECT_EQ(final_stats(*server).cut_timeout, 2U);
}

TEST(Server, CutsAClientThatDoesNotReadItsAnswer) {
    const auto server = start({.write = std::chrono::milliseconds(100)},
                              [](const Request&, const Respond& respond) {
                                  respond({200, {}, std::string(64 * 1024 * 1024, 'z')});
                              });
    Tls tls(server->port());
    ASSERT_TRUE(tls.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    while (server->stats().cut_timeout == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_LT(tls.read_all().size(), 64U * 1024 * 1024);
}

TEST(Server, GarbageInsteadOfAHandshakeClosesAndIsCounted) {
    const auto server = start({});
    Raw raw(server->port());
    const std::string text = "GET / HTTP/1.1\r\nHost: plain\r\n\r\n";
    ASSERT_EQ(send(raw.fd(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
    EXPECT_TRUE(raw.ended());
    EXPECT_EQ(final_stats(*server).failed_handshakes, 1U);
    EXPECT_TRUE(client_of(*server)->send("GET", "/", {}, "").has_value());
}

TEST(Server, GarbageInsteadOfARequestIsRefused) {
    const auto server = start({});
    for (const std::string_view text :
         {"\x01\x02\x03\x04 nonsense\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
          "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
          "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
        Tls tls(server->port());
        ASSERT_TRUE(tls.write(text));
        EXPECT_TRUE(tls.read_until("\r\n\r\n", 1).starts_with("HTTP/1.1 400")) << text;
    }
    EXPECT_EQ(server->stats().malformed, 5U);
    EXPECT_EQ(server->stats().requests, 0U);
}

TEST(Server, PipelinedRequestsAreAnsweredInOrder) {
    const auto server = start({}, [](const Request& request, Respond respond) {
        // the first answer comes last, from another thread
        if (request.path == "/1") {
            std::thread([respond = std::move(respond)] {
                std::this_thread::sleep_for(std::chrono::milliseconds(20));
                respond({200, {}, "one|"});
            }).detach();
        } else {
            respond({200, {}, request.path + "|"});
        }
    });
    Tls tls(server->port());
    ASSERT_TRUE(
        tls.write("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPUT /2 HTTP/1.1\r\nHost: a\r\n"
                  "Content-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: a\r\n\r\n"));
    const std::string all = tls.read_until("|", 3);
    EXPECT_LT(all.find("one|"), all.find("/2|"));
    EXPECT_LT(all.find("/2|"), all.find("/3|"));
}

TEST(Server, HeadHasTheLengthAndNoBody) {
    const auto server = start({});
    const auto client = client_of(*server);
    const auto head = client->send("HEAD", "/x", {}, "");
    ASSERT_TRUE(head.has_value()) << head.error().message;
    EXPECT_EQ(head->body, "");
    EXPECT_EQ(find_header(head->headers, "content-length"), "19");
    EXPECT_TRUE(client->send("GET", "/x", {}, "").has_value());
    EXPECT_EQ(server->stats().accepted, 1U);
}

TEST(Server, ContinueIsSentToAClientThatAsks) {
    const auto server = start({});
    Tls tls(server->port());
    ASSERT_TRUE(tls.write(
        "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
    EXPECT_EQ(tls.read_until("\r\n\r\n", 1), "HTTP/1.1 100 Continue\r\n\r\n");
    ASSERT_TRUE(tls.write("ab"));
    EXPECT_NE(tls.read_until("|end", 1).find("body=2"), std::string::npos);
}

TEST(Server, AHeaderThatWouldSplitTheAnswerIsLeftOut) {
    const auto server = start({}, [](const Request&, const Respond& respond) {
        respond({200, {{"X-Good", "yes"}, {"X-Bad", "a\r\nX-Planted: b"}}, "|end"});
    });
    const auto answer = client_of(*server)->send("GET", "/", {}, "");
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(find_header(answer->headers, "x-good"), "yes");
    EXPECT_EQ(find_header(answer->headers, "x-bad"), "");
    EXPECT_EQ(find_header(answer->headers, "x-planted"), "");
}

TEST(Server, WhatIsRefusedWithoutTheHandlerIsSeenByItsHook) {
    ServerOptions options;
    options.certificate_pem = certificate().certificate;
    options.key_pem = certificate().key;
    options.limits.body_bytes = 10;
    options.refused = [](Response& r) {
        r.headers.emplace_back("X-Seen", std::to_string(r.status));
    };
    const auto server = serve(options, echo);
    ASSERT_TRUE(server.has_value());
    const auto answer = client_of(**server)->send("PUT", "/", {}, std::string(11, 'x'));
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(find_header(answer->headers, "x-seen"), "413");
}

TEST(Server, AForgottenOrThrowingHandlerAnswers500) {
    const auto server = start({}, [](const Request& request, const Respond&) {
        if (request.path == "/throw") {
            throw std::runtime_error("planted");
        }
    });
    const auto client = client_of(*server);
    for (const char* path : {"/forget", "/throw"}) {
        const auto answer = client->send("GET", path, {}, "");
        ASSERT_TRUE(answer.has_value()) << answer.error().message;
        EXPECT_EQ(answer->status, 500);
    }
}

TEST(Server, ConnectionsBeyondTheLimitAreClosedAtOnce) {
    const auto server = start({.connections = 2});
    Tls one(server->port());
    Tls two(server->port());
    ASSERT_TRUE(one.ready() && two.ready());
    Raw three(server->port());
    EXPECT_TRUE(three.ended());
    EXPECT_EQ(server->stats().refused_limit, 1U);
    ASSERT_TRUE(one.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT_NE(one.read_until("|end", 1).find("200 OK"), std::string::npos);
}

TEST(Server, StopLetsARequestFinishAndClosesTheIdle) {
    std::binary_semaphore entered{0};
    Respond kept;
    const auto server = start({}, [&](const Request&, Respond respond) {
        kept = std::move(respond);
        entered.release();
    });
    Tls idle(server->port());
    Tls busy(server->port());
    ASSERT_TRUE(busy.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    entered.acquire();
    std::thread stopper([&] { server->stop(20'000); });
    EXPECT_EQ(idle.read_all(), "");
    EXPECT_TRUE(idle.ended());
    kept({200, {}, "finished"});
    const std::string answer = busy.read_all();
    EXPECT_NE(answer.find("finished"), std::string::npos);
    EXPECT_NE(answer.find("Connection: close"), std::string::npos);
    stopper.join();
    EXPECT_FALSE(Raw(server->port()).connected());
}

TEST(Server, StopDoesNotWaitForARequestBeyondItsGrace) {
    std::binary_semaphore entered{0};
    Respond kept;
    auto server = start({}, [&](const Request&, Respond respond) {
        kept = std::move(respond);
        entered.release();
    });
    Tls busy(server->port());
    ASSERT_TRUE(busy.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    entered.acquire();
    server->stop(10);
    server.reset();
    EXPECT_EQ(busy.read_all(), "");
    kept({200, {}, "too late"});  // nothing to answer: must not crash
}

TEST(Server, ANewCertificateServesNewConnections) {
    const auto server = start({});
    Tls before(server->port());
    EXPECT_EQ(before.peer_name(), "one");
    const Pair next = make_certificate("two");
    ASSERT_TRUE(server->replace_certificate(next.certificate, next.key).has_value());
    Tls after(server->port());
    EXPECT_EQ(after.peer_name(), "two");
    ASSERT_TRUE(before.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT_NE(before.read_until("|end", 1).find("200 OK"), std::string::npos);
    const auto bad = server->replace_certificate(next.certificate, certificate().key);
    ASSERT_FALSE(bad.has_value());
    EXPECT_EQ(bad.error().code, Code::kInvalidArgument);
}

TEST(Server, RefusesTlsBelow12) {
    const auto server = start({});
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(
        SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
    SSL_CTX_set_security_level(context.get(), 0);
    SSL_CTX_set_max_proto_version(context.get(), TLS1_1_VERSION);
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
    Raw raw(server->port());
    SSL_set_fd(ssl.get(), raw.fd());
    EXPECT_NE(SSL_connect(ssl.get()), 1);
}

TEST(Server, APortInUseIsAConflict) {
    const auto server = start({});
    ServerOptions options;
    options.port = server->port();
    options.certificate_pem = certificate().certificate;
    options.key_pem = certificate().key;
    const auto second = serve(options, echo);
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code, Code::kConflict);
    options.address = "nonsense";
    EXPECT_EQ(serve(options, echo).error().code, Code::kInvalidArgument);
    options.address = "127.0.0.1";
    options.key_pem = encrypted_key();
    EXPECT_EQ(serve(options, echo).error().code, Code::kInvalidArgument);
    options.certificate_pem = "nonsense";
    EXPECT_EQ(serve(options, echo).error().code, Code::kInvalidArgument);
}

TEST(Client, ReconnectsWhenTheKeptConnectionWasClosed) {
    const auto server = start({.idle = std::chrono::milliseconds(50)});
    const auto client = client_of(*server);
    ASSERT_TRUE(client->send("GET", "/", {}, "").has_value());
    final_stats(*server);
    const auto again = client->send("POST", "/p", {}, "abc");
    ASSERT_TRUE(again.has_value()) << again.error().message;
    EXPECT_EQ(again->body, "POST /p body=3 |end");
    EXPECT_EQ(server->stats().accepted, 2U);
}

TEST(Client, TellsAnUntrustedCertificateFromARefusedConnection) {
    const auto server = start({});
    const auto base = fmt::format("https://127.0.0.1:{}", server->port());
    const auto distrusting =
        connect({.base_url = base, .ca_pem = make_certificate("x").certificate});
    ASSERT_TRUE(distrusting.has_value());
    EXPECT_EQ((*distrusting)->send("GET", "/", {}, "").error().code, Code::kUnauthenticated);
    server->stop(0);
    EXPECT_EQ(client_of(*server)->send("GET", "/", {}, "").error().code, Code::kUnavailable);
    EXPECT_EQ(connect({.base_url = "http://a", .ca_pem = ""}).error().code, Code::kInvalidArgument);
}

TEST(Client, GivesUpAfterItsTimeout) {
    Respond kept;
    const auto server =
        start({}, [&](const Request&, Respond respond) { kept = std::move(respond); });
    const auto client = client_of(*server, std::chrono::milliseconds(200));
    const auto answer = client->send("GET", "/", {}, "");
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().code, Code::kTimeout);
    server->stop(0);
}

}  // namespace
}  // namespace culvert::http
