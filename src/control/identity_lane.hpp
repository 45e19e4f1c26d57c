// SPDX-License-Identifier: Apache-2.0
// One thread for work that costs tens of milliseconds (password hashes), with a bounded queue:
// sign-in may be slow, the API beside it may not. Internally synchronized.
#pragma once

#include "base/guarded.hpp"

#include <deque>
#include <functional>
#include <semaphore>
#include <thread>

namespace culvert::control {

class SlowLane {
  public:
    static constexpr std::size_t kQueue = 64;

    SlowLane() : thread_([this](const std::stop_token& stop) { run(stop); }) {}
    SlowLane(const SlowLane&) = delete;
    SlowLane& operator=(const SlowLane&) = delete;
    ~SlowLane() {
        thread_.request_stop();
        waiting_.release();
    }

    // False when the queue is full: answer "later".
    bool post(std::function<void()> work) {
        const bool room = queue_.with([&](auto& queue) {
            if (queue.size() >= kQueue) {
                return false;
            }
            queue.push_back(std::move(work));
            return true;
        });
        if (room) {
            waiting_.release();
        }
        return room;
    }

  private:
    void run(const std::stop_token& stop) {
        while (true) {
            waiting_.acquire();
            if (stop.stop_requested()) {
                return;
            }
            auto work = queue_.with([](auto& queue) {
                auto first = std::move(queue.front());
                queue.pop_front();
                return first;
            });
            work();
        }
    }

    Guarded<std::deque<std::function<void()>>> queue_;
    std::counting_semaphore<> waiting_{0};
    std::jthread thread_;  // INVARIANT: last, ends before what it uses
};

}  // namespace culvert::control
