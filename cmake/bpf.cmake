# SPDX-License-Identifier: Apache-2.0
# bpf/<name>.bpf.c -> <name>.skel.h. vmlinux.h comes from the running kernel's BTF (bookworm's headers lack BPF_TCX_*).
find_program(CLANG_BPF NAMES clang-19 REQUIRED)
find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)
set(BPF_OUT ${CMAKE_BINARY_DIR}/generated/bpf)
file(MAKE_DIRECTORY ${BPF_OUT})
add_custom_command(
  OUTPUT ${BPF_OUT}/vmlinux.h
  COMMAND sh -c "${BPFTOOL} btf dump file /sys/kernel/btf/vmlinux format c > ${BPF_OUT}/vmlinux.h.tmp && mv ${BPF_OUT}/vmlinux.h.tmp ${BPF_OUT}/vmlinux.h"
  VERBATIM)
file(GLOB BPF_HEADERS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.h ${CMAKE_SOURCE_DIR}/src/abi/*.h ${CMAKE_SOURCE_DIR}/src/abi/*.def)
file(GLOB BPF_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.bpf.c)

# culvert_add_skeletons(<library> <include directory> [header...]): <include directory>/bpf/<name>.skel.h of every program.
# What stands below its include/ goes before src/; `header` are files there that the programs depend on.
function(culvert_add_skeletons library include)
  set(out ${include}/bpf)
  file(MAKE_DIRECTORY ${out})
  set(skeletons)
  foreach(src ${BPF_SOURCES})
    get_filename_component(stem ${src} NAME_WE)
    add_custom_command(
      OUTPUT ${out}/${stem}.bpf.o
      COMMAND ${CLANG_BPF} -target bpf -D__TARGET_ARCH_x86 -mcpu=v3 -O2 -g -Wall -Wextra -Wno-unused-parameter
              -Wno-missing-declarations -Wno-sign-compare -Werror -I${include}/include -I${BPF_OUT} -I${CMAKE_SOURCE_DIR}/src -I${CMAKE_SOURCE_DIR}/bpf
              -c ${src} -o ${out}/${stem}.bpf.o
      DEPENDS ${src} ${BPF_HEADERS} ${BPF_OUT}/vmlinux.h ${ARGN} VERBATIM)
    add_custom_command(
      OUTPUT ${out}/${stem}.skel.h
      COMMAND sh -c "${BPFTOOL} gen skeleton ${out}/${stem}.bpf.o name ${stem} > ${out}/${stem}.skel.h.tmp && mv ${out}/${stem}.skel.h.tmp ${out}/${stem}.skel.h"
      DEPENDS ${out}/${stem}.bpf.o VERBATIM)
    list(APPEND skeletons ${out}/${stem}.skel.h)
  endforeach()
  add_custom_target(${library}_skeletons DEPENDS ${skeletons})
  add_library(${library} INTERFACE)
  add_dependencies(${library} ${library}_skeletons)
  target_include_directories(${library} SYSTEM INTERFACE ${include})
endfunction()

culvert_add_skeletons(culvert_bpf ${CMAKE_BINARY_DIR}/generated)
add_custom_target(bpf_skeletons DEPENDS culvert_bpf_skeletons)
