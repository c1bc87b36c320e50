// Runs CUDA C++ kernels on a CPU: include this before a .cu file and compile with g++.
//
// Blocks run one after another. Each thread of a block is a fiber, which runs until it must wait
// for others; then another one runs, in an order that is meant to do harm (threads.h). What a GPU
// would leave to chance is made to go wrong: shared memory is NaN before a block begins, copies in
// the background come as late or as early as they may (copies.h), and past the end of an array lies
// memory that no one may touch (memory.h). Who does wrong is named, with block, thread and line.
//
// The headers in on_cpu/ say what kernels see; the .cpp files beside them are the machine below.
//
// Not here: wgmma, TMA, clusters, shuffles among some lanes of a warp, blocks that wait for each
// other, and what goes wrong when two blocks write to one place at the same time.
#pragma once
#define CUDA_ON_CPU 1
#include "on_cpu/language.h"  // __global__, float4, min, …
#include "on_cpu/bfloat16.h"  // __nv_bfloat16
#include "on_cpu/threads.h"   // threadIdx, __syncthreads
#include "on_cpu/warps.h"     // shuffles, votes, atomics
#include "on_cpu/tensor.h"    // mma_bf16, ldmatrix_x4
#include "on_cpu/copies.h"    // cp_async16, copy16, put
#include "on_cpu/counts.h"    // what kernels do, counted
#include "on_cpu/launch.h"    // a launch
