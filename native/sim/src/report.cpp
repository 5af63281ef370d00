// Faults: what a launch did wrong, where, and by which thread.
#include <algorithm>
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
    std::string text = message;
    if (!place.empty()) text += ", at " + place;
    text += ", by thread " + triple(fiber.index) + " of block " + triple(worker.block);
    end_with(worker, std::move(text));
}

// What addr2line prints about one code address.
std::string run_addr2line(const char* options, const void* address) {
    Dl_info info;
    link_map* map = nullptr;
    if (dladdr1(address, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0 || map == nullptr) return "";
    char self[4096];
    const char* file = map->l_name;
    if (file == nullptr || *file == 0) { // the executable; /proc/self/exe would be the shell's
        const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
        if (length < 0) return "";
        self[length] = 0;
        file = self;
    }
    char command[5000];
    std::snprintf(command, sizeof command, "addr2line %s -e '%s' 0x%lx 2>/dev/null", options, file,
                  static_cast<unsigned long>(reinterpret_cast<uintptr_t>(address) - map->l_addr));
    FILE* pipe = popen(command, "r");
    if (pipe == nullptr) return "";
    std::string output;
    char line[4096];
    while (std::fgets(line, sizeof line, pipe) != nullptr) output += line;
    pclose(pipe);
    return output;
}

// The inlined frames of an address that are the kernel's, innermost first: not the simulator's, the library's, or those
// of an adapter over the simulator's operations (named *_sim.*).
std::string find_place(const void* pc) {
    // Just before the return address lies the instruction that made the access (cp.async's second site is one byte on).
    const std::string frames = run_addr2line("-i", static_cast<const char*>(pc) - 2);
    std::string place;
    int count = 0;
    size_t start = 0;
    while (start < frames.size() && count < 3) {
        const size_t end = std::min(frames.find('\n', start), frames.size());
        std::string frame = frames.substr(start, end - start);
        frame = frame.substr(0, frame.find(" (discriminator"));
        start = end + 1;
        if (frame.empty() || frame[0] == '?') continue;
        const auto has = [&frame](const char* part) { return frame.find(part) != std::string::npos; };
        if (has("/simt/") || has("/include/c++/") || has("_sim.")) continue;
        place += (count++ == 0 ? "" : ", called from ") + frame;
    }
    char address[32];
    std::snprintf(address, sizeof address, "%p", pc);
    return place.empty() ? address : place;
}

// "void a::(anonymous namespace)::kernel<float, 4>(float*)" as "kernel<float, 4>".
std::string shortened(std::string name) {
    for (const std::string part : {"(anonymous namespace)::", "void "})
        for (size_t at = name.find(part); at != std::string::npos; at = name.find(part)) name.erase(at, part.size());
    size_t begin = 0, depth = 0, end = name.size();
    for (size_t i = 0; i < name.size(); ++i) {
        if (name[i] == '<') ++depth;
        if (name[i] == '>') --depth;
        if (depth == 0 && name[i] == ':') begin = i + 1;
        if (depth == 0 && name[i] == '(') {
            end = i;
            break;
        }
    }
    return name.substr(begin, end - begin);
}

} // namespace

std::string place_of(const void* pc) {
    static std::mutex mutex;
    static std::unordered_map<const void*, std::string> known;
    const std::lock_guard lock(mutex);
    const auto [entry, fresh] = known.try_emplace(pc);
    if (fresh) entry->second = find_place(pc);
    return entry->second;
}

std::string kernel_name(const LaunchRequest& request) {
    static std::mutex mutex;
    static std::unordered_map<const void*, std::string> known;
    const std::lock_guard lock(mutex);
    const auto [entry, fresh] = known.try_emplace(request.kernel);
    if (!fresh) return entry->second;
    const std::string output = run_addr2line("-f -C", request.kernel);
    const std::string function = output.substr(0, output.find('\n'));
    entry->second = function.empty() || function[0] == '?' ? request.name : shortened(function);
    return entry->second;
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
