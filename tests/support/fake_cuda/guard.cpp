// What autograd asks a CUDA device for: streams and events, which here do nothing, and whether it has a context.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <cstring>

namespace {
using c10::Device, c10::DeviceIndex, c10::DeviceType, c10::EventFlag, c10::Stream;

const Device here(DeviceType::CUDA, 0);
const Stream stream(Stream::DEFAULT, here);

struct Guard final : c10::impl::NoOpDeviceGuardImpl<DeviceType::CUDA> {
  Device exchangeDevice(Device) const override { return here; }
  Device getDevice() const override { return here; }
  Stream getStream(Device) const noexcept override { return stream; }
  Stream getDefaultStream(Device) const override { return stream; }
  Stream getNewStream(Device, int) const override { return stream; }
  Stream exchangeStream(Stream) const noexcept override { return stream; }
  void record(void**, const Stream&, const DeviceIndex, const EventFlag) const override {}
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
  void synchronizeEvent(void*) const override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const Stream&) const override {}
};

bool yes(const void*, DeviceIndex) { return true; }

constexpr size_t BEFORE = 2;  // of a table of virtual functions: offset to top, type information
constexpr size_t COPIED = 130;
}  // namespace

extern "C" void put_guard() {
  static Guard guard;
  c10::impl::device_guard_impl_registry[static_cast<size_t>(DeviceType::CUDA)].store(&guard);
  // torch's hooks would ask the driver; theirs is replaced by a copy of their table in which one function says yes
  static void* table[COPIED + BEFORE];
  void*** hooks = reinterpret_cast<void***>(const_cast<at::CUDAHooksInterface*>(&at::detail::getCUDAHooks()));
  if (*hooks == table + BEFORE) return;
  std::memcpy(table, *hooks - BEFORE, COPIED * sizeof(void*));
  bool (at::AcceleratorHooksInterface::*asked)(DeviceIndex) const = &at::AcceleratorHooksInterface::hasPrimaryContext;
  size_t place;
  std::memcpy(&place, &asked, sizeof(place));
  table[BEFORE + (place - 1) / sizeof(void*)] = reinterpret_cast<void*>(&yes);
  *hooks = table + BEFORE;
}
