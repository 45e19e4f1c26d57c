// SPDX-License-Identifier: Apache-2.0
#include "metrics/metrics.hpp"
#include "runtime/files.hpp"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#if __has_feature(address_sanitizer)
#include <sanitizer/allocator_interface.h>
#endif

namespace culvert::metrics {
namespace {

double seconds_of(const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// /proc/self/statm: pages in all, pages in memory (proc_pid_statm(5)).
double resident_bytes() {
    const auto text = runtime::read_file("/proc/self/statm");
    std::istringstream in(text ? *text : "");
    double all = 0;
    double resident = 0;
    in >> all >> resident;
    return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// What is allocated and not freed: unlike the resident size it does not grow with what the
// allocator keeps for later (mallinfo2(3)).
double allocated_bytes() {
#if __has_feature(address_sanitizer)
    return static_cast<double>(__sanitizer_get_current_allocated_bytes());
#else
    const auto info = ::mallinfo2();
    return static_cast<double>(info.uordblks + info.hblkhd);
#endif
}

// The directory's own descriptor is one of them.
double open_descriptors() {
    std::error_code error;
    const std::filesystem::directory_iterator all("/proc/self/fd", error);
    return error ? 0 : static_cast<double>(std::distance(begin(all), end(all)) - 1);
}

}  // namespace

void add_process(Page& page) {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    page.counter("process_cpu_seconds_total", "User and system time of the process.",
                 seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    page.gauge("process_resident_memory_bytes", "Memory of the process.", resident_bytes());
    page.gauge("process_heap_bytes", "Memory allocated and not freed.", allocated_bytes());
    page.gauge("process_open_fds", "Open file descriptors.", open_descriptors());
}

}  // namespace culvert::metrics
