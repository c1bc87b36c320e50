// Runs CUDA C++ kernels on a CPU: include this before a .cu file and compile with g++.
//
// Blocks run one after another. Each thread of a block is a fiber, which runs until it must wait
// for others; then the next one runs, in an order that is meant to do harm (on_cpu/threads.h). What
// a GPU would leave to chance is made to go wrong: shared memory is NaN before a block begins,
// copies in the background come as late or as early as they may, and one number past the end of
// an array is past the end of the world.
//
// Not here: wgmma, TMA, clusters, and blocks that wait for each other.
#pragma once
#define CUDA_ON_CPU 1
#include "on_cpu/language.h"  // __global__, float4, min, exp2f, …
#include "on_cpu/threads.h"   // fibers, __syncthreads, schedules
#include "on_cpu/bfloat16.h"  // __nv_bfloat16
#include "on_cpu/warps.h"     // shuffles, votes, atomics
#include "on_cpu/tensor.h"    // mma_bf16, ldmatrix_x4, and how often banks collide
#include "on_cpu/copies.h"    // cp_async16, copy16, put
#include "on_cpu/launch.h"    // guarded arrays, and a launch
