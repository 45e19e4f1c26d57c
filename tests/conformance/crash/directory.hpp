// SPDX-License-Identifier: Apache-2.0
// Where the crash tests keep their files, and what tells them how long to go on.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace culvert::store::test {

// A number from the environment.
inline std::uint64_t number_of(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// A directory in memory: the disk is simulated, its syncs need not cost what real ones do.
class FastDirectory {
  public:
    FastDirectory() {
        const char* memory = "/dev/shm";
        std::string name =
            std::filesystem::exists(memory)
                ? std::string(memory) + "/cv-crash-XXXXXX"
                : (std::filesystem::temp_directory_path() / "cv-crash-XXXXXX").string();
        if (::mkdtemp(name.data()) != nullptr) {
            path_ = name;
        }
    }
    ~FastDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    FastDirectory(const FastDirectory&) = delete;
    FastDirectory& operator=(const FastDirectory&) = delete;
    std::string path() const { return path_; }
    std::string file() const { return path_ + "/store.db"; }

  private:
    std::string path_;
};

}  // namespace culvert::store::test
