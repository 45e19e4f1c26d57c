// SPDX-License-Identifier: Apache-2.0
// Shared data sits inside Guarded<T>: it can only be reached with the lock held (STYLE.md 10).
// Monitor<T> is the same for data that threads wait for.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace culvert {

template <typename T>
class Guarded {
  public:
    template <typename... Args>
    explicit Guarded(Args&&... args) : value_(std::forward<Args>(args)...) {}
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;

    // Runs `use` with the value, lock held; returns what it returns. `use` must not block on I/O.
    template <typename F>
    decltype(auto) with(F&& use) {
        const std::lock_guard lock(mutex_);
        return std::forward<F>(use)(value_);
    }
    template <typename F>
    decltype(auto) with(F&& use) const {
        const std::lock_guard lock(mutex_);
        return std::forward<F>(use)(value_);
    }

  private:
    mutable std::mutex mutex_;
    T value_;
};

// A guarded value that can be waited for. Every change made through with() wakes all waiters, who
// look at their condition again.
template <typename T>
class Monitor {
  public:
    template <typename... Args>
    explicit Monitor(Args&&... args) : value_(std::forward<Args>(args)...) {}
    Monitor(const Monitor&) = delete;
    Monitor& operator=(const Monitor&) = delete;

    // Runs `use` with the value, lock held, then wakes the waiters; returns what `use` returns.
    template <typename F>
    decltype(auto) with(F&& use) {
        const Waker waker(changed_);  // runs after the lock is released
        const std::lock_guard lock(mutex_);
        return std::forward<F>(use)(value_);
    }

    // Waits until `ready(value)`, then runs `use` with the value, same lock; wakes nobody.
    template <typename P, typename F>
    decltype(auto) wait(P&& ready, F&& use) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return ready(value_); });
        return std::forward<F>(use)(value_);
    }

    // As wait(), but gives up after `patience`: then `use` runs with a value that is not ready.
    template <typename P, typename F>
    decltype(auto) wait_for(std::chrono::nanoseconds patience, P&& ready, F&& use) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, patience, [&] { return ready(value_); });
        return std::forward<F>(use)(value_);
    }

  private:
    struct Waker {
        explicit Waker(std::condition_variable& woken) : changed(woken) {}
        ~Waker() { changed.notify_all(); }
        Waker(const Waker&) = delete;
        Waker& operator=(const Waker&) = delete;
        std::condition_variable& changed;
    };

    std::mutex mutex_;
    std::condition_variable changed_;
    T value_;
};

}  // namespace culvert
