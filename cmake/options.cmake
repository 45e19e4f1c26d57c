# SPDX-License-Identifier: Apache-2.0
set(CULVERT_SANITIZE "" CACHE STRING "sanitizers of every target: address,undefined or thread")

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  # precompiled headers are cached only with these two relaxations (ccache manual, "Precompiled headers")
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
endif()

add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Werror -fno-omit-frame-pointer)
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Xclang> $<$<COMPILE_LANGUAGE:CXX>:-fno-pch-timestamp>)
add_link_options(-fuse-ld=lld-19)
if(CULVERT_SANITIZE)
  add_compile_options(-fsanitize=${CULVERT_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CULVERT_SANITIZE})
endif()
