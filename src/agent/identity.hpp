// SPDX-License-Identifier: Apache-2.0
// Who this node is: what join stored in the data directory.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <string>

namespace culvert::agent {

struct Identity {
    std::string name;
    std::uint32_t node = 0;  // index
    std::string outer;       // backbone address, text
    std::string intent;      // HOST:PORT of the stream
    std::string control;     // https://HOST:PORT
    std::string certificate_pem;
    std::string key_pem;
    std::string ca_pem;
};

// Reads node.json, node.pem (key and certificate) and ca.crt. Errors: kNotFound ("join first"),
// kCorrupt.
Result<Identity> load_identity(const std::filesystem::path& data_dir);
// Writes them; the key and the directory are the owner's alone. node.json comes last: what it names
// is complete.
Status save_identity(const std::filesystem::path& data_dir, const Identity& identity);
// Replace the authorities, or key and certificate, at once: a reader finds the old or the new.
Status save_trust(const std::filesystem::path& data_dir, const Identity& identity);
Status save_credentials(const std::filesystem::path& data_dir, const Identity& identity);

}  // namespace culvert::agent
