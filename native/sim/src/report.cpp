// Faults: what a launch did wrong, where, and by which thread.
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <mutex>
#include <unistd.h>
#include <unordered_map>

#include "execution.h"

namespace simt {

namespace {

std::string triple(uint3 v) {
    return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

// The first fault wins; the launch ends.
[[noreturn]] void end_with(Worker& worker, std::string text) {
    Launch& launch = *worker.launch;
    static std::mutex mutex;
    {
        const std::lock_guard lock(mutex);
        if (!launch.aborted.load()) {
            launch.fault = std::move(text);
            launch.aborted.store(true);
        }
    }
    leave_launch(worker);
}

[[noreturn]] void end_with(Fiber& fiber, const std::string& place, const char* message) {
    Worker& worker = *fiber.worker;
    std::string text = worker.launch->request.name;
    text += ": ";
    text += message;
    if (!place.empty()) text += ", at " + place;
    text += ", by thread " + triple(fiber.index) + " of block " + triple(worker.block);
    end_with(worker, std::move(text));
}

// The frames of one code address, innermost first, as addr2line prints them.
std::string run_addr2line(const void* pc) {
    Dl_info info;
    link_map* map = nullptr;
    if (dladdr1(pc, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0 || map == nullptr) return "";
    char self[4096];
    const char* file = map->l_name;
    if (file == nullptr || *file == 0) { // the executable; /proc/self/exe would be the shell's
        const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
        if (length < 0) return "";
        self[length] = 0;
        file = self;
    }
    // Just before the return address lies the instruction that made the access (cp.async's second site is one byte on).
    const uintptr_t offset = reinterpret_cast<uintptr_t>(pc) - map->l_addr - 2;
    char command[5000];
    std::snprintf(command, sizeof command, "addr2line -i -e '%s' 0x%lx 2>/dev/null", file,
                  static_cast<unsigned long>(offset));
    FILE* pipe = popen(command, "r");
    if (pipe == nullptr) return "";
    std::string output;
    char line[4096];
    while (std::fgets(line, sizeof line, pipe) != nullptr) output += line;
    pclose(pipe);
    return output;
}

} // namespace

// The innermost frame that is neither the simulator's nor a wrapper's around one of its operations.
std::string place_of(const void* pc) {
    static std::mutex mutex;
    static std::unordered_map<const void*, std::string> known;
    const std::lock_guard lock(mutex);
    auto [entry, fresh] = known.try_emplace(pc);
    if (!fresh) return entry->second;
    const std::string frames = run_addr2line(pc);
    std::string first;
    size_t start = 0;
    while (start < frames.size()) {
        size_t end = frames.find('\n', start);
        if (end == std::string::npos) end = frames.size();
        std::string line = frames.substr(start, end - start);
        line = line.substr(0, line.find(" (discriminator"));
        start = end + 1;
        if (line.empty() || line[0] == '?') continue;
        if (first.empty()) first = line;
        const bool wrapper = line.find("/simt/") != std::string::npos || line.find("device.cuh") != std::string::npos ||
                             line.find("/include/c++/") != std::string::npos;
        if (wrapper) continue;
        return entry->second = line;
    }
    char address[32];
    std::snprintf(address, sizeof address, "%p", pc);
    return entry->second = first.empty() ? address : first;
}

std::string resolve_places(const std::string& text) {
    std::string result;
    size_t start = 0;
    while (true) {
        const size_t open = text.find("{pc:", start);
        if (open == std::string::npos) return result + text.substr(start);
        const size_t close = text.find('}', open);
        void* pc = reinterpret_cast<void*>(std::strtoull(text.c_str() + open + 4, nullptr, 16));
        result += text.substr(start, open - start) + place_of(pc);
        start = close + 1;
    }
}

ThreadName thread_name(const Worker& worker, uint32_t thread) {
    const dim3 block = worker.launch->request.block;
    ThreadName name;
    std::snprintf(name.text, sizeof name.text, "(%u,%u,%u)", thread % block.x, thread / block.x % block.y,
                  thread / block.x / block.y);
    return name;
}

void fault_at(const Where& where, const char* format, ...) {
    char message[1200];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    Fiber& fiber = *current_fiber();
    set_current_fiber(nullptr); // host code from here on, whichever copies of library functions are linked
    std::string place;
    if (where.line() != 0) place = std::string(where.file_name()) + ":" + std::to_string(where.line());
    end_with(fiber, place, message);
}

void fault_at_pc(const void* pc, const char* format, ...) {
    char message[1200];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    char place[40];
    std::snprintf(place, sizeof place, "{pc:%p}", pc);
    Fiber& fiber = *current_fiber();
    set_current_fiber(nullptr);
    end_with(fiber, place, message);
}

} // namespace simt
