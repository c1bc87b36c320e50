// What the processor refuses to do while kernels run is caught and told, and the launch ends; so it
// does with Ctrl-C. Signals of other threads are passed on to who would have got them.
#pragma once

namespace cpu {

void catch_signals(bool ctrl_c);  // that one, too?
void release_signals();

}  // namespace cpu
