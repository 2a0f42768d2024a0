// SPDX-License-Identifier: MIT
// Objects that stand for an address as long as somebody needs them: made, found, and given back for the next address.
//
// Queue has a constructor Queue{home}, and the members `address` and `next_in_bucket`, which are the table's. Its
// objects stay where they are; the table keeps those that were given back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace gyre::sync::detail {

template <class Queue, class Home>
class address_table {
 public:
  /// The one that stands for `address`, or null.
  [[nodiscard]] Queue* find(const void* address) const noexcept {
    if (latest_ != nullptr && latest_->address == address) [[likely]]
      return latest_;
    if (used_count_ == 0) return nullptr;
    Queue* each = buckets_[bucket_of(address)];
    while (each != nullptr && each->address != address) each = each->next_in_bucket;
    if (each != nullptr) latest_ = each;
    return each;
  }

  /// The same, made if there is none.
  [[nodiscard]] Queue& get(const void* address, Home& home) {
    if (Queue* const found = find(address)) return *found;
    if (used_count_ == buckets_.size()) grow();
    if (spare_ == nullptr) add_spare(home);
    Queue& taken = *std::exchange(spare_, spare_->next_in_bucket);
    taken.address = address;
    put(taken);
    ++used_count_;
    return taken;
  }

  /// Nobody needs it any more.
  void give_back(Queue& unused) noexcept {
    if (latest_ == &unused) latest_ = nullptr;
    Queue** link = &buckets_[bucket_of(unused.address)];
    while (*link != &unused) link = &(*link)->next_in_bucket;
    *link = unused.next_in_bucket;
    --used_count_;
    unused.next_in_bucket = std::exchange(spare_, &unused);
  }

  [[nodiscard]] std::size_t used_count() const noexcept { return used_count_; }

 private:
  [[nodiscard]] std::size_t bucket_of(const void* address) const noexcept {
    constexpr std::uint64_t golden = 0x9e37'79b9'7f4a'7c15;  // words lie at equal distances: spreads them
    return (reinterpret_cast<std::uintptr_t>(address) * golden >> 32) & (buckets_.size() - 1);
  }

  void put(Queue& entering) noexcept {
    Queue*& bucket = buckets_[bucket_of(entering.address)];
    entering.next_in_bucket = std::exchange(bucket, &entering);
  }

  void grow() {
    std::vector<Queue*> old(buckets_.empty() ? 16 : buckets_.size() * 2);
    buckets_.swap(old);
    for (Queue* each : old)
      while (each != nullptr) put(*std::exchange(each, each->next_in_bucket));
  }

  void add_spare(Home& home) {
    all_.push_back(std::make_unique<Queue>(home));
    spare_ = all_.back().get();
    spare_->next_in_bucket = nullptr;
  }

  std::vector<Queue*> buckets_;  // a power of two
  std::vector<std::unique_ptr<Queue>> all_;
  Queue* spare_ = nullptr;
  mutable Queue* latest_ = nullptr;  // that was found: the next one sought is nearly always the same
  std::size_t used_count_ = 0;
};

}  // namespace gyre::sync::detail
