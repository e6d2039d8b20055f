"""A stand-in for a GPU on any machine: which operators would launch a kernel there, and which would wait for one.

Within :class:`PretendedGPU` tensors of another device exist, whose values lie on the CPU all the same: code takes the
way that it takes on a GPU, an operator that mixes devices raises, as there, and every operator is counted. Not
pretended are time, memory, and what CUDA does in another way or refuses.
"""
from __future__ import annotations

import collections
import contextlib
from typing import Union
from unittest import mock

import pytest
import torch
from mmengine.structures import instance_data
from torch.utils import _python_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

if not hasattr(_python_dispatch, 'return_and_correct_aliasing'):
    pytest.skip('before torch 2.2 a tensor cannot stand for another one', allow_module_level=True)

GPU = torch.device('meta')  # of all device types the one that is neither the CPU nor needs a driver
aten = torch.ops.aten
#: no kernel: memory and shapes alone
FREE = ('empty', 'empty_like', 'empty_strided', 'new_empty', 'new_empty_strided', 'detach', 'alias', 'lift_fresh',
        '_reshape_alias', 'is_same_size', 'resize_', '_unsafe_view', '_local_scalar_dense')
#: what asks the device how many, or which, and waits for the answer
WAITING = ('_local_scalar_dense', 'nonzero', 'masked_select', 'equal', '_unique2', 'unique_dim', 'is_nonzero',
           'unique_consecutive')

KINDS = instance_data.IndexType.__args__  # of which InstanceData takes a selection
INDEXING = ('index', 'index_put', 'index_put_', '_index_put_impl_', '_unsafe_index')


class GPUTensor(torch.Tensor):
    """A tensor that says it is on a GPU and whose values, ``held``, are on the CPU."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=GPU,
            requires_grad=False)

    def __init__(self, held):
        self.held = held

    __torch_function__ = torch._C._disabled_torch_function_impl

    def tolist(self):
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f'{func} of a tensor on the pretended GPU outside of PretendedGPU')


class PretendedGPU(TorchDispatchMode):
    """Counts within it: ``launches`` and ``waits``, by name of operator; copies to and from the device are both."""

    def __init__(self):
        super().__init__()
        self.launches, self.waits = collections.Counter(), collections.Counter()
        self.patches = contextlib.ExitStack()

    def __enter__(self):
        """Ways to the device that torch has no operator for, and a device type that knows no autocast."""
        autocast = torch.autocast

        def made_there(make):
            def wrapped(data, *args, device=None, **kwargs):
                made = make(data, *args, **kwargs)
                return made if device is None or isinstance(made, GPUTensor) else made.to(device)
            return wrapped

        for name in ('tensor', 'as_tensor'):
            self.patches.enter_context(mock.patch.object(torch, name, made_there(getattr(torch, name))))
        self.patches.enter_context(mock.patch.object(
            torch, 'autocast', lambda kind, *args, **kwargs: contextlib.nullcontext() if kind == GPU.type
            else autocast(kind, *args, **kwargs)))
        self.patches.enter_context(mock.patch.object(instance_data, 'IndexType', Union[(torch.Tensor, *KINDS)]))
        return super().__enter__()

    def __exit__(self, *error):
        self.patches.close()
        return super().__exit__(*error)

    def upload(self, value):
        """A tensor, or a module's parameters and buffers, on the pretended GPU, uncounted."""
        if isinstance(value, torch.Tensor):
            return value if isinstance(value, GPUTensor) else GPUTensor(value.detach())
        for module in value.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = torch.nn.Parameter(self.upload(parameter), parameter.requires_grad)
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else self.upload(buffer)
        return value

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
        ours = [t for t in tensors if isinstance(t, GPUTensor)]
        name = func.overloadpacket.__name__
        device = kwargs.get('device')
        there = torch.device(device).type == GPU.type if device is not None else bool(ours)
        copying = name in ('_to_copy', 'copy_')
        if ours and not copying:
            self.check_devices(name, tensors, args)
        held_args, held_kwargs = tree_map(lambda t: t.held if isinstance(t, GPUTensor) else t, (args, kwargs))
        if device is not None:
            held_kwargs['device'] = torch.device('cpu')
        out = func(*held_args, **held_kwargs)
        if copying:
            ends = [isinstance(args[0], GPUTensor),
                    isinstance(args[1], GPUTensor) if name == 'copy_' else there]
            there = ends[0] if name == 'copy_' else there
            if any(ends):
                self.launches[name] += 1
                # an upload that asks not to wait is safe, paged memory or not: it has been read when the call returns
                asked = kwargs.get('non_blocking') or args[2:3] == (True, )
                if ends[0] != ends[1] and not (there and asked):
                    self.waits['upload' if there else 'download'] += 1
            if name == '_to_copy' and ends[0] != ends[1] and out is held_args[0]:
                out = out.clone()
        elif there:
            self.count(func, name, args)
        if not there:
            return out
        wrapped = tree_map(lambda t: GPUTensor(t) if isinstance(t, torch.Tensor) else t, out)
        return _python_dispatch.return_and_correct_aliasing(func, args, kwargs, wrapped) if ours else wrapped

    def count(self, func, name, args):
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        if not view and name not in FREE:
            self.launches[name] += 1
        places = [t for t in args[1] if t is not None] if name in INDEXING else []
        self.waits['upload'] += sum(not isinstance(t, GPUTensor) for t in places)
        masks = any(t.dtype in (torch.bool, torch.uint8) for t in places)
        if name in WAITING or masks or (name == 'repeat_interleave' and func._overloadname == 'Tensor'):
            self.waits[name] += 1

    @staticmethod
    def check_devices(name, tensors, args):
        """As CUDA: only a number (a tensor without axes), or an index, may be elsewhere."""
        for tensor in tensors:
            if tensor.device == GPU and not isinstance(tensor, GPUTensor):
                raise RuntimeError(f'{name}: torch made a tensor there unseen, without values: index by a tensor, not '
                                   'by a list; torch.tensor, not new_tensor')
            if not isinstance(tensor, GPUTensor) and tensor.dim() and not name.startswith('index'):
                raise RuntimeError(f'{name}: expected all tensors to be on the same device, found two')
